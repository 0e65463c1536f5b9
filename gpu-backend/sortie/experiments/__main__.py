"""`python -m sortie.experiments NAME`: runs a queue of experiments, or goes on with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import run_command
from .queue import run_queue
from .tiny import tiny_jobs


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments", description=__doc__)
    parser.add_argument("name", choices=("tiny",), help="tiny: the recipe of models/tiny")
    parser.add_argument("--runs", type=Path, help="folder of data, states and logs (default: runs/NAME)")
    parser.add_argument(
        "--out", type=Path, default=Path("../models/tiny"), help="checkpoint to write (default: %(default)s)"
    )
    parser.add_argument("--base", type=Path, help="sorted checkpoint of the world to go on from")
    args = parser.parse_args()
    runs = args.runs or Path("runs") / args.name
    run_queue(tiny_jobs(runs, args.out, args.base), runs)


def main() -> None:
    """The command line."""
    run_command(_main)


main()
