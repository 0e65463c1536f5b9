"""`sortie-world`: writes rows of the generated world as JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from .drills import date_quizzes, drills, hop_quizzes, recall_quizzes
from .generate import SPLITS, balanced, stream


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sortie-world", description=__doc__)
    parser.add_argument("--split", default="train", help=f"one of {', '.join(SPLITS)}; several by comma")
    parser.add_argument("--drills", type=int, metavar="PAIRS", help="lookup drills of up to so many pairs instead")
    parser.add_argument("--hops", type=int, metavar="MOST", help="drills of walks of two to so many hops instead")
    parser.add_argument("--least-hops", type=int, default=2, metavar="LEAST", help="of --hops (default: %(default)s)")
    parser.add_argument("--dates", type=int, metavar="HARDEST", help="drills of dates of up to a difficulty instead")
    parser.add_argument("--recall", action="store_true", help="drills of what is learnt by heart instead")
    parser.add_argument("--n", type=int, required=True, help="rows of each split")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--balanced", action="store_true", help="equally many of each difficulty")
    parser.add_argument("--out", type=Path, help="file to write; standard output if absent")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if args.drills:
        rows += islice(drills(args.seed, args.drills), args.n)
    if args.hops:
        rows += islice(hop_quizzes(args.seed, args.hops, args.least_hops), args.n)
    if args.dates:
        rows += islice(date_quizzes(args.seed, args.dates), args.n)
    if args.recall:
        rows += islice(recall_quizzes(args.seed), args.n)
    for split in [] if args.drills or args.hops or args.dates or args.recall else args.split.split(","):
        if args.balanced:
            rows += balanced(split, args.seed, args.n)
        else:
            rows += islice(stream(split, args.seed), args.n)
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
