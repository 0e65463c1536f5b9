"""`python -m sortie.first.evaluate`: exact match and NLL of every exit, by family and difficulty."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from ..data.encode import open_tokenizer
from ..evaluation.report import markdown
from ..world.checkers import check
from .batches import ChatEncoder
from .nested import NestedModel, load
from .objectives import IGNORE, exit_losses

# Longest answer of the world is a two-sentence story of about 40 tokens.
MAX_ANSWER_TOKENS = 64
BATCH_ROWS = 64


@torch.inference_mode()
def answer(model: NestedModel, encoder: ChatEncoder, prompts: list[list[int]], exit_layer: int) -> list[list[int]]:
    """Greedy answers of one exit, ids without the end token.

    Prompts are padded on the right and the whole batch is read again for every token: causal attention never
    looks at the padding, and the sequences are short.
    """
    rows = len(prompts)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.full((rows, int(lengths.max()) + MAX_ANSWER_TOKENS), encoder.pad)
    for i, prompt in enumerate(prompts):
        ids[i, : len(prompt)] = torch.tensor(prompt)
    answers: list[list[int]] = [[] for _ in prompts]
    live = torch.arange(rows)
    for _ in range(MAX_ANSWER_TOKENS):
        width = int(lengths[live].max())
        hidden = model.exit_hidden(ids[live, :width], up_to=exit_layer)[exit_layer]
        last = hidden[torch.arange(len(live)), lengths[live] - 1]  # [rows, d]
        best = model.logits(last).argmax(-1)
        going = best != encoder.eos
        for row, token in zip(live[going].tolist(), best[going].tolist(), strict=True):
            answers[row].append(token)
            ids[row, lengths[row]] = token
        live = live[going]
        lengths[live] += 1
        if len(live) == 0:
            break
    return answers


@torch.inference_mode()
def answer_nll(model: NestedModel, row: tuple[list[int], list[bool]]) -> dict[int, float]:
    """Mean NLL in nats per token of the last answer, its end token included, at every exit."""
    ids, mask = row
    start = len(mask) - mask[::-1].index(False)
    tokens = torch.tensor([ids])
    labels = tokens[:, 1:].clone()
    labels[:, : start - 1] = IGNORE
    losses = exit_losses(model, model.exit_hidden(tokens[:, :-1]), labels)
    return {k: loss.item() for k, loss in losses.items()}


def evaluate(
    model: NestedModel, tokenizer: PreTrainedTokenizerFast, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One record a row and exit: split, family, difficulty, exit, right, nll."""
    encoder = ChatEncoder(tokenizer)
    encoded = encoder(rows)
    order = sorted(range(len(rows)), key=lambda i: len(encoded[i][0]))
    nll = [answer_nll(model, row) for row in tqdm(encoded, desc="nll")]
    records = []
    for exit_layer in model.shape.exits:
        for first in tqdm(range(0, len(order), BATCH_ROWS), desc=f"exit {exit_layer}"):
            part = order[first : first + BATCH_ROWS]
            prompts = [prompt_of(*encoded[i]) for i in part]
            for i, ids in zip(part, answer(model, encoder, prompts, exit_layer), strict=True):
                row = rows[i]
                records.append(
                    {
                        "split": row["split"],
                        "family": row["family"],
                        "difficulty": row["difficulty"],
                        "exit": exit_layer,
                        "right": check(row["checker"], tokenizer.decode(ids)),
                        "nll": nll[i][exit_layer],
                    }
                )
    return records


def prompt_of(ids: list[int], mask: list[bool]) -> list[int]:
    """Everything before the last answer."""
    return ids[: len(mask) - mask[::-1].index(False)]


def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
    """{split: {group: {exit: {n, exact_match, nll}}}}; groups: all, each family, each family-difficulty."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        family, difficulty = record["family"], record["difficulty"]
        for group in ("all", family, f"{family}-{difficulty}"):
            groups[record["split"], group, record["exit"]].append(record)
    summary: dict[str, Any] = {}
    for (split, group, exit_layer), members in sorted(groups.items()):
        n = len(members)
        summary.setdefault(split, {}).setdefault(group, {})[str(exit_layer)] = {
            "n": n,
            "exact_match": round(sum(m["right"] for m in members) / n, 4),
            "nll": round(sum(m["nll"] for m in members) / n, 4),
        }
    return summary


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sortie.first.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--rows", type=Path, help="JSON lines (default: CHECKPOINT/test.jsonl)")
    parser.add_argument("--out", type=Path, help="JSON summary (default: CHECKPOINT/eval.json)")
    args = parser.parse_args()
    path = args.rows or args.checkpoint / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    tokenizer = open_tokenizer(args.checkpoint)
    summary = summarise(evaluate(load(args.checkpoint), tokenizer, rows))
    out = args.out or args.checkpoint / "eval.json"
    out.write_text(json.dumps(summary, indent=1) + "\n")
    for split in summary:
        print(f"\n{split}: exact match · NLL per answer token\n\n{markdown(summary, split)}")
    print(json.dumps({split: groups["all"] for split, groups in summary.items()}))


if __name__ == "__main__":
    main()
