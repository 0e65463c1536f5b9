"""Published shapes with random weights, in shards: load time, peak memory, and logits beside stock transformers.

    python -m sortie.bench.checkpoints --shape SmolLM2-135M --shape Llama-3.2-1B

Each shape and type is measured in a process of its own, since memory's high-water mark never falls.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from ..engine.pages import blocks_of
from ..engine.ragged import RaggedBatch, Span
from ..engine.runner import Runner
from ..errors import UserError, run_command
from ..nested import DTYPES
from ..origin.checkpoint import load_checkpoint
from .report import finish, table
from .shapes import SHAPES, write_random

PROMPT = 48
# Tokens read one at a time after the prompt, from the pages.
STEPS = 8
# A context of 1,024 positions of the widest shape here, in float32.
CACHE_BYTES = 128 << 20
MB = 1e6


def peak_bytes() -> int:
    """This process's largest resident set so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise UserError("/proc/self/status has no VmHWM: this benchmark needs Linux")


def measure(folder: Path, dtype: str) -> dict[str, object]:
    """Loads a checkpoint as the origin does and holds every position's logits against stock transformers'."""
    device = torch.device("cpu")
    before = peak_bytes()
    began = time.perf_counter()
    checkpoint = load_checkpoint(folder, device, DTYPES[dtype])
    loaded = time.perf_counter() - began
    peak = peak_bytes() - before
    model = checkpoint.model
    config = model.lm.config
    # A context as long as this test: pages for 128 Ki positions are not what is measured.
    config.max_position_embeddings, context = 1024, config.max_position_embeddings
    runner = Runner(model, 1, CACHE_BYTES)
    config.max_position_embeddings = context
    ids = torch.randint(3, model.vocabulary, (PROMPT + STEPS,), generator=torch.Generator().manual_seed(0)).tolist()
    ours = paged_logits(runner, ids)
    del runner, model, checkpoint
    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype]).eval()
    with torch.inference_mode():
        wanted = stock(torch.tensor([ids])).logits[0].float()
    return {
        "parameters": sum(p.numel() for p in stock.parameters()),
        "files": len(list(folder.glob("*.safetensors"))),
        "bytes": sum(f.stat().st_size for f in folder.glob("*.safetensors")),
        "load_s": loaded,
        "peak_bytes": peak,
        "largest_difference": float((ours - wanted).abs().max()),
        "logit_deviation": float(wanted.std()),
        "same_argmax": float((ours.argmax(-1) == wanted.argmax(-1)).float().mean()),
    }


@torch.inference_mode()
def paged_logits(runner: Runner, ids: list[int]) -> torch.Tensor:
    """Logits [N, V] at full depth: a prompt at once, then one token after another through the pages."""
    row = runner.pool.take(runner.model.depth, blocks_of(len(ids)) * 32)
    found = []
    for start, end in [(0, PROMPT), *((at, at + 1) for at in range(PROMPT, len(ids)))]:
        batch = RaggedBatch.of(runner.pool, [Span(row, start, end - start)])
        hidden = runner.embed(ids[start:end])
        for segment in range(len(runner.bounds)):
            hidden = runner.run_segment(segment, hidden, batch)
        found.append(runner.logits(hidden))
    return torch.cat(found)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="sortie.bench.checkpoints", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given again (default: all)")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), action="append", help="may be given again (default: both)")
    parser.add_argument("--scratch", type=Path, default=Path("../build/shapes"), help="where shapes are written")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "DTYPE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1])))
        return
    results: dict[str, dict[str, object]] = {}
    for name in args.shape or SHAPES:
        folder = write_random(name, args.scratch / name)
        for dtype in args.dtype or ("fp32", "bf16"):
            command = [sys.executable, "-m", __spec__.name, "--measure", str(folder), dtype]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[f"{name}, {dtype}"] = json.loads(done.stdout.splitlines()[-1])
    columns = [
        "checkpoint",
        "parameters",
        "files",
        "MB",
        "load s",
        "peak MB",
        "largest |Δlogit|",
        "σ of logits",
        "same argmax",
    ]
    rows = [
        [
            name,
            f"{r['parameters'] / 1e6:.0f} M",
            r["files"],
            r["bytes"] / MB,
            r["load_s"],
            r["peak_bytes"] / MB,
            f"{r['largest_difference']:.1e}",
            r["logit_deviation"],
            f"{r['same_argmax']:.3f}",
        ]
        for name, r in results.items()
    ]
    print(table(columns, rows), end="\n\n")
    finish({"bench": "checkpoints", "results": results})


if __name__ == "__main__":
    run_command(_main)
