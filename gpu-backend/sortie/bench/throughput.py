"""`npm run bench:gpu`: tokens a second by batch size, exit and decoding, beside stock transformers' `generate`.

Everything runs in one process on one device, one subject after another, round after round; the median round counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from ..engine.decoding import Decoding, EarlyExit, Speculative
from ..errors import run_command
from ..nested import DTYPES
from .crowd import ROOMS, crowd
from .report import finish, table
from .shapes import SHAPES, write_random
from .subject import BIGGEST, Bench, interleaved

BATCHES = (1, 4, BIGGEST)


def measure(bench: Bench, rounds: int) -> dict[str, object]:
    """All figures of one checkpoint; prints its tables."""
    deepest, half = bench.exits[-1], bench.half
    mixed = [half if at % 2 else deepest for at in range(BIGGEST)]
    subjects: dict[str, Callable[[], float]] = {}
    for batch in BATCHES:
        for k in bench.exits:
            subjects[f"exit {k}, batch {batch}"] = lambda k=k, batch=batch: bench.run([k] * batch)[0]
        subjects[f"generate, batch {batch}"] = lambda batch=batch: bench.generate(batch)
    subjects["mixed, sequential"] = lambda: bench.sequential(mixed)
    subjects["mixed, batch 16"] = lambda: bench.run(mixed)[0]
    ways: dict[str, Decoding] = {
        "early exit": EarlyExit(dict.fromkeys(bench.exits[:-1], 0.9)),
        "speculative": Speculative(half, 4),
    }
    for name, decoding in ways.items():
        for batch in (1, BIGGEST):
            run = lambda d=decoding, b=batch: bench.run([deepest] * b, d)[0]  # noqa: E731
            subjects[f"{name}, batch {batch}"] = run
    seconds = interleaved(subjects, rounds)
    rate = {
        name: bench.tokens * (int(name.rsplit(" ", 1)[1]) if "batch" in name else BIGGEST) / took
        for name, took in seconds.items()
    }
    rows = [
        [f"exit {k}", *(rate[f"exit {k}, batch {b}"] for b in BATCHES), 1e3 / rate[f"exit {k}, batch 1"]]
        for k in bench.exits
    ]
    rows.append(["generate", *(rate[f"generate, batch {b}"] for b in BATCHES), 1e3 / rate["generate, batch 1"]])
    print(table(["tokens/s", *(f"batch {b}" for b in BATCHES), "ms/token, batch 1"], rows), end="\n\n")
    ratios = {
        "batch 16 mixed exits / sequential": rate["mixed, batch 16"] / rate["mixed, sequential"],
        "mixed exits / full depth, batch 16": rate["mixed, batch 16"] / rate[f"exit {deepest}, batch 16"],
        "full depth / generate, batch 1": rate[f"exit {deepest}, batch 1"] / rate["generate, batch 1"],
        "full depth / generate, batch 16": rate[f"exit {deepest}, batch 16"] / rate["generate, batch 16"],
    }
    for name in ways:
        for batch in (1, BIGGEST):
            plain = rate[f"exit {deepest}, batch {batch}"]
            ratios[f"{name} / full depth, batch {batch}"] = rate[f"{name}, batch {batch}"] / plain
    print(table(["ratio", "times"], list(map(list, ratios.items()))), end="\n\n")
    _, ends = bench.run([deepest] * BIGGEST, ways["speculative"])
    accepted = sum(end.accepted for end in ends) / max(1, sum(end.drafted for end in ends))
    _, ends = bench.run([deepest] * BIGGEST, ways["early exit"])
    layers = sum(k * n for end in ends for k, n in end.tokens_by_exit.items()) / (BIGGEST * bench.tokens)
    print(
        f"drafts of exit {half} accepted: {accepted:.3f}; early exit (0.9): {layers:.2f} of {deepest} layers a token\n"
    )
    return {"tokens_per_second": rate, "ratios": ratios, "accepted": accepted, "early_exit_layers": layers}


def _main() -> None:
    parser = argparse.ArgumentParser(prog="bench:gpu", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, action="append", help="folder; may be given again")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="random weights of a published shape")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), help="default: bf16 on cuda, fp32 on a CPU")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each answer (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crowd-only", action="store_true", help="no batches: only what waiting requests get")
    parser.add_argument("--room", choices=ROOMS, action="append", help="what they share; may be given again (all)")
    places = "room that waiting requests get, in requests at full depth (default: %(default)s)"
    parser.add_argument("--places", type=int, default=BIGGEST, metavar="N", help=places)
    parser.add_argument("--threads", type=int, help="threads of one operator (default: one a core)")
    parser.add_argument("--scratch", type=Path, default=Path("../build/shapes"), help="where shapes are written")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    dtype = args.dtype or ("bf16" if args.device == "cuda" else "fp32")
    folders = [*(args.checkpoint or ()), *(write_random(name, args.scratch / name) for name in args.shape or ())]
    results = {}
    for folder in folders or [Path("../models/tiny")]:
        print(f"{folder.name}, {dtype} on {args.device}, {torch.get_num_threads()} threads\n")
        bench = Bench(folder, torch.device(args.device), DTYPES[dtype], args.prompt, args.tokens)
        batches = {} if args.crowd_only else measure(bench, args.rounds)
        results[folder.name] = batches | {"crowd": crowd(bench, args.room or list(ROOMS), args.places, args.rounds)}
    settings = {"device": args.device, "dtype": dtype, "prompt": args.prompt, "tokens": args.tokens}
    finish({"bench": "gpu", **settings, "rounds": args.rounds, "results": results})


if __name__ == "__main__":
    run_command(_main)
