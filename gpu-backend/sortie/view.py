"""`sortie-view`: the first k layers of a sorted checkpoint as an ordinary checkpoint for stock transformers."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from .errors import run_command
from .nested import open_checkpoint, save_checkpoint, truncate

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def write_view(checkpoint: Path, exit_layer: int, out: Path, dtype: torch.dtype) -> None:
    """Writes the truncated checkpoint with its tokenizer. Raises UserError for a layer that is no exit."""
    model = open_checkpoint(checkpoint)
    save_checkpoint(truncate(model, exit_layer), out, dtype)
    copy_tokenizer(checkpoint, out)


def copy_tokenizer(source: Path, target: Path) -> None:
    """The tokenizer's files, as they are."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


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
