"""`sortie-view`: the first k layers of a sorted checkpoint as an ordinary checkpoint for stock transformers."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .data.encode import copy_tokenizer
from .errors import run_command
from .nested import DTYPES, open_checkpoint, save_checkpoint, truncate


def write_view(checkpoint: Path, exit_layer: int, out: Path, dtype: torch.dtype) -> None:
    """Writes the truncated checkpoint with its tokenizer. Raises UserError for a layer that is no exit."""
    model = open_checkpoint(checkpoint)
    save_checkpoint(truncate(model, exit_layer), out, dtype)
    copy_tokenizer(checkpoint, out)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="sortie-view", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="sorted checkpoint folder")
    parser.add_argument("--view", type=int, required=True, metavar="K", help="exit: layers to keep")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16", help="type of the weights (default: %(default)s)")
    args = parser.parse_args()
    write_view(args.checkpoint, args.view, args.out, DTYPES[args.dtype])
    print(f"{args.out}: layers 1..{args.view} of {args.checkpoint}")


def main() -> None:
    """The command line."""
    run_command(_main)


if __name__ == "__main__":
    main()
