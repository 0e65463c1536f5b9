"""`sortie-eval`: what each exit gets right, and what dynamic and speculative inference make of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from ..data.encode import Encoder, open_tokenizer
from ..errors import run_command
from ..nested import NestedModel, open_checkpoint
from .answers import answer_nll, greedy_answers
from .items import Item, read_items
from .methods import compare
from .metrics import f1
from .plot import plot_depth
from .report import Score, markdown, methods_markdown, summarise


def score(model: NestedModel, encoder: Encoder, items: list[Item]) -> list[Score]:
    """Every item at every exit."""
    nll = answer_nll(model, encoder, items)
    scores = []
    for k in model.exits:
        answers = greedy_answers(model, encoder, items, k)
        for i, (item, answer) in enumerate(zip(items, answers, strict=True)):
            scores.append(Score(item, k, item.right(answer), f1(answer, [item.reference]), nll[k][i]))
    return scores


def _main() -> None:
    parser = argparse.ArgumentParser(prog="sortie-eval", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="sorted checkpoint folder")
    parser.add_argument("--rows", type=Path, help="JSONL of chats (default: CHECKPOINT/test.jsonl)")
    parser.add_argument("--out", type=Path, help="JSON summary (default: CHECKPOINT/eval.json)")
    parser.add_argument("--methods", type=int, default=0, metavar="N", help="compare ways to answer on N rows")
    parser.add_argument("--plot", type=Path, help="depth-quality plot to write (.svg or .png)")
    args = parser.parse_args()
    model = open_checkpoint(args.checkpoint).eval()
    encoder = Encoder(open_tokenizer(args.checkpoint), model.vocabulary)
    items = read_items(args.rows or args.checkpoint / "test.jsonl")
    summary = summarise(score(model, encoder, items))
    methods = compare(model, encoder, Random(0).sample(items, min(args.methods, len(items)))) if args.methods else []
    out = args.out or args.checkpoint / "eval.json"
    out.write_text(json.dumps({"splits": summary, "methods": methods}, indent=1) + "\n")
    for split in summary:
        print(f"\n{split}: exact match · NLL per answer token\n\n{markdown(summary, split)}")
    if methods:
        print(f"\nWays to answer, {args.methods} rows, one at a time\n\n{methods_markdown(methods)}")
    if args.plot:
        plot_depth(summary, methods, args.plot)
        print(f"\n{args.plot}")
    print(json.dumps({split: groups["all"] for split, groups in summary.items()}))


def main() -> None:
    """The command line."""
    run_command(_main)
