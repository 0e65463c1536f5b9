"""`python -m sortie.experiments.score`: every row at every exit, teacher-forced, many rows at a time.

A row counts as right where the most probable id equals the reference at every position of the last answer, its end
token included. Greedy decoding writes that very answer then and only then: its first step sees the same prompt, and as
long as it has written the reference so far, its next step sees the same ids. So this is exact match with one reference,
without generating. (Families whose checker accepts several answers, short texts, are held to the one reference.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..data.encode import Encoded, Encoder, encode_rows, open_tokenizer
from ..data.packing import collate
from ..data.rows import describe_bad, read_rows
from ..errors import run_command
from ..losses import IGNORE
from ..nested import NestedModel, open_checkpoint
from ..training.config import numbers

BATCH_ROWS = 64
# Of the products, as in training.
PRECISION = torch.bfloat16


@dataclass(frozen=True)
class Scores:
    """right [E, N]; nll [E, N] in nats, summed over the answer; tokens [N] of the answer; numbers [N] of the rows."""

    exits: list[int]
    right: np.ndarray
    nll: np.ndarray
    tokens: np.ndarray
    numbers: np.ndarray

    def save(self, path: Path) -> None:
        """Writes an .npz file."""
        np.savez_compressed(path, **vars(self))


def load(path: Path) -> Scores:
    """Reads what `Scores.save` wrote."""
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    return Scores(**{**parts, "exits": parts["exits"].tolist()})


def last_answer(row: Encoded) -> Encoded:
    """The row with its last answer alone to be predicted: earlier turns are given."""
    end = max(i for i, kept in enumerate(row.learnt) if kept)
    start = end
    while start > 0 and row.learnt[start - 1]:
        start -= 1
    return replace(row, learnt=[start <= i <= end for i in range(len(row.ids))])


@torch.inference_mode()
def score(model: NestedModel, rows: list[Encoded], pad: int) -> tuple[Tensor, Tensor]:
    """right [E, N] and summed nll [E, N] of the rows' last answers."""
    model.eval()
    rows = [last_answer(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    right = torch.zeros(len(model.exits), len(rows), dtype=torch.bool)
    nll = torch.zeros(len(model.exits), len(rows))
    for first in tqdm(range(0, len(order), BATCH_ROWS), desc="scores"):
        part = order[first : first + BATCH_ROWS]
        batch = collate([[rows[i]] for i in part], max(len(rows[i].ids) for i in part) - 1, pad)
        learnt = batch.labels != IGNORE
        labels, owner = batch.labels[learnt], learnt.nonzero()[:, 0]  # [M], [M]
        # Rows are padded on the right, where causal attention does not look: no segments.
        for e, (k, hidden) in enumerate(model.exit_hidden(batch.ids).items()):
            logits = model.logits(hidden[learnt], k).float()  # [M, V]
            wrong = torch.zeros(len(part)).index_add_(0, owner, (logits.argmax(-1) != labels).float())
            lost = F.cross_entropy(logits, labels, reduction="none")
            right[e, part] = wrong == 0
            nll[e, part] = torch.zeros(len(part)).index_add_(0, owner, lost)
    return right, nll


@dataclass(frozen=True)
class Rows:
    """Rows to score, encoded; their numbers in the file; the id that pads."""

    encoded: list[Encoded]
    numbers: np.ndarray
    pad: int


def open_rows(file: Path, tokenizer: Path, length: int) -> Rows:
    """A file's rows of at most `length` ids, by a checkpoint's tokenizer."""
    opened = open_tokenizer(tokenizer)
    encoder = Encoder(opened, len(opened))
    read, _ = read_rows(file)
    rows, unfit = encode_rows(encoder, read, length)
    if unfit:
        print(f"{file}: left out {describe_bad(unfit)}")
    left_out = {row.number for row in unfit}
    return Rows(rows, np.array([row.number for row in read if row.number not in left_out]), encoder.pad)


def score_checkpoint(model: NestedModel, rows: Rows) -> Scores:
    """Scores of all rows at all exits."""
    with torch.autocast(model.lm.device.type, PRECISION):
        right, nll = score(model, rows.encoded, rows.pad)
    tokens = [sum(last_answer(row).learnt[1:]) for row in rows.encoded]
    return Scores(list(model.exits), right.numpy(), nll.numpy(), np.array(tokens), rows.numbers)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.score", description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="rows with their answers")
    parser.add_argument("--length", type=int, required=True, help="longest row, ids; longer ones are left out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the scores, one NAME.npz a checkpoint")
    parser.add_argument("--checkpoints", nargs="+", required=True, metavar="NAME=DIR", help="of one tokenizer")
    parser.add_argument("--exits", type=numbers, help="of checkpoints that were not trained for exits")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoints = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in args.checkpoints)}
    # Checkpoints that are compared have one tokenizer.
    rows = open_rows(args.rows, next(iter(checkpoints.values())), args.length)
    for name, folder in checkpoints.items():
        target = args.out / f"{name}.npz"
        if target.exists():
            continue  # an interrupted job goes on
        scores = score_checkpoint(open_checkpoint(folder, args.exits), rows)
        scores.save(target)
        shown = {k: round(float(r.mean()), 4) for k, r in zip(scores.exits, scores.right, strict=True)}
        print(f"{name}: exact match {shown}")


if __name__ == "__main__":
    run_command(_main)
