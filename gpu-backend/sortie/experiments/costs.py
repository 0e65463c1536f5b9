"""`python -m sortie.experiments.costs`: what one step of an objective costs, in processor time and memory.

Processor time, not the clock's, so that other work on the machine counts little; the fastest step of several. Memory is
the process's peak over the steps less what it held before the first: gradients, optimiser and activations.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from ..data.encode import Encoder, encode_rows, open_tokenizer
from ..data.rows import read_rows
from ..errors import run_command
from ..training.config import TrainConfig, from_options
from ..training.loop import Run
from ..training.setup import load_model, make_accelerator

# Steps before the clock runs (allocations), and steps of which the fastest counts.
WARM_UP, STEPS = 2, 6
KIB_IN_MIB = 1024


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_IN_MIB


def measure(config: TrainConfig) -> dict[str, float]:
    """Processor seconds of a step and MiB it needs on top of the loaded model and data."""
    accelerator = make_accelerator(config.precision)
    model = load_model(config, accelerator.device.type)
    encoder = Encoder(open_tokenizer(config.model), model.vocabulary)
    rows, _ = encode_rows(encoder, read_rows(config.data[0])[0], config.length)
    run = Run(config, accelerator, model, rows, rows[: config.batch], encoder)
    before = peak_mib()
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.process_time()
        run.step(config.lr)
        seconds.append(time.process_time() - started)
        run.progress.step += 1
    return {
        "step_cpu_seconds": round(min(seconds[WARM_UP:]), 4),
        "step_mib": round(peak_mib() - before, 1),
        "process_mib": round(peak_mib(), 1),
    }


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.costs", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint to start from")
    parser.add_argument("--exits", required=True)
    parser.add_argument("--objective", required=True)
    parser.add_argument("--cut-at", type=int)
    parser.add_argument("--data", type=Path, required=True, help="rows")
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    options = {name: value for name, value in vars(args).items() if value is not None}
    found = measure(from_options({**options, "precision": "bf16", "skip_bad": True}))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print(f"{args.objective}: {found}")


if __name__ == "__main__":
    run_command(_main)
