"""`python -m sortie.experiments.average`: the mean of two checkpoints' weights, one trained on from the other.

What the later one has learnt stays, and much of what it forgot meanwhile comes back ("Robust fine-tuning of zero-shot
models", Wortsman et al. 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..data.encode import copy_tokenizer
from ..errors import UserError, run_command
from ..nested import DTYPES, NestedModel, open_checkpoint, save_checkpoint


@torch.no_grad()
def average(later: NestedModel, earlier: NestedModel, share: float) -> NestedModel:
    """`later`, its weights moved by `share` (0…1) of the way to `earlier`. Raises UserError for unequal shapes."""
    theirs = dict(earlier.named_parameters())
    mine = dict(later.named_parameters())
    if {n: p.shape for n, p in mine.items()} != {n: p.shape for n, p in theirs.items()}:
        raise UserError("the two checkpoints have other shapes: one must have been trained on from the other")
    for name, parameter in mine.items():
        parameter.lerp_(theirs[name], share)
    return later


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.average", description=__doc__)
    parser.add_argument("--later", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--earlier", type=Path, required=True, help="what it was trained on from")
    parser.add_argument("--share", type=float, required=True, help="of the earlier one, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    args = parser.parse_args()
    if not 0 <= args.share <= 1:
        raise UserError(f"--share must be in 0..1, not {args.share}")
    model = average(open_checkpoint(args.later), open_checkpoint(args.earlier), args.share)
    save_checkpoint(model, args.out, DTYPES["bf16"])
    copy_tokenizer(args.later, args.out)


if __name__ == "__main__":
    run_command(_main)
