"""`python -m sortie.experiments.methods`: dynamic inference and self-speculation beside fixed exits, on some rows.

Speeds are of one thread, by processor time, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from random import Random

import torch

from ..data.encode import Encoder, open_tokenizer
from ..errors import run_command
from ..evaluation.items import read_items
from ..evaluation.methods import compare
from ..evaluation.report import methods_markdown
from ..nested import open_checkpoint


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.methods", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="sorted checkpoint folder")
    parser.add_argument("--rows", type=Path, required=True, help="JSONL of chats")
    parser.add_argument("--n", type=int, required=True, help="rows drawn from them")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = open_checkpoint(args.checkpoint)
    encoder = Encoder(open_tokenizer(args.checkpoint), model.vocabulary)
    items = read_items(args.rows)
    drawn = Random(0).sample(items, min(args.n, len(items)))
    found = compare(model, encoder, drawn, clock=time.process_time)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(methods_markdown(found))


if __name__ == "__main__":
    run_command(_main)
