"""`python -m sortie.experiments NAME`: runs a queue of experiments, or goes on with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import run_command
from .pretrained import pretrained_jobs
from .queue import Job, run_queue
from .text import text_jobs
from .tiny import tiny_jobs
from .tuning import tuning_jobs
from .world import world_jobs


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    tiny = names.add_parser("tiny", help="the recipe of models/tiny")
    tiny.add_argument(
        "--out", type=Path, default=Path("../models/tiny"), help="checkpoint to write (default: %(default)s)"
    )
    tiny.add_argument("--base", type=Path, help="sorted checkpoint of the world to go on from")
    world = names.add_parser("world", help="every objective on the generated world, over several seeds")
    tuning = names.add_parser("tuning", help="variants of soft+ on the base of `world` (give its --runs)")
    text = names.add_parser("text", help="every objective on Alpaca and on facts, from a base that reads stories")
    pretrained = names.add_parser("pretrained", help="models pretrained elsewhere, without any pre-training for exits")
    for part in (text, pretrained):
        part.add_argument("--data", type=Path, required=True, help="folder of the source texts")
    pretrained.add_argument("--checkpoints", type=Path, required=True, help="folder of the pretrained models")
    for part in (world, tuning, text):
        part.add_argument(
            "--tokenizer", type=Path, default=Path("../models/tiny"), help="its folder (default: %(default)s)"
        )
    for part in (world, tuning, text, pretrained):
        part.add_argument("--effort", type=float, default=1.0, help="multiplies all steps (default: %(default)s)")
    for part in (tiny, world, tuning, text, pretrained):
        part.add_argument("--runs", type=Path, help="folder of data, states and logs (default: runs/NAME)")
    args = parser.parse_args()
    runs = args.runs or Path("runs") / args.name
    run_queue(jobs_of(args, runs), runs)


def jobs_of(args: argparse.Namespace, runs: Path) -> list[Job]:
    """The jobs of the queue that was asked for."""
    if args.name == "tiny":
        return tiny_jobs(runs, args.out, args.base)
    if args.name == "world":
        return world_jobs(runs, args.tokenizer, args.effort)
    if args.name == "tuning":
        return tuning_jobs(runs, args.tokenizer, args.effort)
    if args.name == "text":
        return text_jobs(runs, args.data, args.tokenizer, args.effort)
    return pretrained_jobs(runs, args.data, args.checkpoints, args.effort)


def main() -> None:
    """The command line."""
    run_command(_main)


main()
