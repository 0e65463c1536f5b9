"""`npm run bench:gpu`: tokens a second by batch size, exit and decoding, beside stock transformers' `generate`.

Everything runs in one process on one device, one subject after another, round after round; the median round counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from ..engine.decoding import Decoding, EarlyExit, Plain, Speculative
from ..engine.pages import blocks_of
from ..engine.runner import Runner
from ..engine.scheduler import Running, Scheduler
from ..engine.sequence import End, Job, Sequence, Token
from ..errors import run_command
from ..nested import DTYPES, NestedModel, open_checkpoint
from .report import finish, table
from .shapes import SHAPES, write_random

BATCHES = (1, 4, 16)
BIGGEST = max(BATCHES)
CACHE_BYTES = {"cpu": 1 << 30, "cuda": 16 << 30}
CHUNK_TOKENS = 512
# Requests at full depth that the small kvCache holds, and requests that are asked of it.
PLACES, CROWD = 8, 48


class Bench:
    """One checkpoint on one device, by this engine and by stock transformers."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype, prompt: int, tokens: int) -> None:
        self.stock = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
        model = open_checkpoint(folder, dtype=dtype).to(device)
        self.runner = Runner(model, BIGGEST, CACHE_BYTES[device.type])
        self.scheduler = Scheduler(self.runner, CHUNK_TOKENS)
        self.small = Scheduler(self._small_runner(model, prompt + tokens), CHUNK_TOKENS)
        self.exits = self.scheduler.exits
        self.tokens = tokens
        generator = torch.Generator().manual_seed(1)
        vocabulary = self.runner.model.vocabulary
        self.prompts = torch.randint(3, vocabulary, (BIGGEST, prompt), generator=generator).tolist()

    def _small_runner(self, model: NestedModel, length: int) -> Runner:
        """Whose kvCache holds PLACES requests of so many tokens at full depth, and more of those that exit earlier."""
        config = model.lm.config
        config.max_position_embeddings, context = length, config.max_position_embeddings
        pages = 1 + PLACES * model.depth * blocks_of(length)
        runner = Runner(model, CROWD, pages * self.runner.pool.shape.page_bytes)
        config.max_position_embeddings = context
        return runner

    def run(
        self, exits: list[int], decoding: Decoding | None = None, scheduler: Scheduler | None = None
    ) -> tuple[float, list[End]]:
        """Answers so many prompts at once, as far as they find room. Returns seconds and the ends."""
        scheduler = scheduler or self.scheduler
        ends: list[End] = []

        def hear(event: Token | End) -> None:
            if isinstance(event, End):
                ends.append(event)

        began = time.perf_counter()
        for prompt, exit_layer in zip(cycle(self.prompts), exits, strict=False):
            job = Job(prompt, exit_layer, self.tokens, decoding=decoding or Plain())
            scheduler.submit(Running(Sequence(job, self.exits), hear))
        while scheduler.step():
            pass
        self._wait()
        return time.perf_counter() - began, ends

    def sequential(self, exits: list[int]) -> float:
        """The same, one request after another. Returns seconds."""
        return sum(self.run_one(at, k) for at, k in enumerate(exits))

    def run_one(self, at: int, exit_layer: int) -> float:
        """Seconds of one prompt alone."""
        began = time.perf_counter()
        job = Job(self.prompts[at], exit_layer, self.tokens)
        self.scheduler.submit(Running(Sequence(job, self.exits), lambda _: None))
        while self.scheduler.step():
            pass
        self._wait()
        return time.perf_counter() - began

    def generate(self, batch: int) -> float:
        """Seconds of stock `generate` at full depth, greedy, its default cache."""
        ids = torch.tensor(self.prompts[:batch], device=self.runner.device)
        began = time.perf_counter()
        with torch.inference_mode():
            self.stock.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=self.tokens,
                max_new_tokens=self.tokens,
                pad_token_id=0,
            )
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.runner.device.type == "cuda":
            torch.cuda.synchronize()


def interleaved(subjects: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Seconds of each subject: the median of rounds in which each runs once; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, run in subjects.items():
            took = run()
            if number > 0:
                seconds[name].append(took)
    return {name: statistics.median(took) for name, took in seconds.items()}


def measure(bench: Bench, rounds: int) -> dict[str, object]:
    """All figures of one checkpoint; prints its tables."""
    deepest = bench.exits[-1]
    half = min(bench.exits, key=lambda k: abs(k - deepest / 2))
    mixed = [half if at % 2 else deepest for at in range(BIGGEST)]
    subjects: dict[str, Callable[[], float]] = {}
    for batch in BATCHES:
        for k in bench.exits:
            subjects[f"exit {k}, batch {batch}"] = lambda k=k, batch=batch: bench.run([k] * batch)[0]
        subjects[f"generate, batch {batch}"] = lambda batch=batch: bench.generate(batch)
    subjects["mixed, sequential"] = lambda: bench.sequential(mixed)
    subjects["mixed, batch 16"] = lambda: bench.run(mixed)[0]
    crowds = {"full depth": [deepest] * CROWD, "mixed": (mixed * CROWD)[:CROWD]}
    for name, exits in crowds.items():
        subjects[f"{name}, small kvCache, batch {CROWD}"] = lambda e=exits: bench.run(e, None, bench.small)[0]
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
        "mixed exits / full depth, the same small kvCache": rate[f"mixed, small kvCache, batch {CROWD}"]
        / rate[f"full depth, small kvCache, batch {CROWD}"],
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
        results[folder.name] = measure(bench, args.rounds)
    settings = {"device": args.device, "dtype": dtype, "prompt": args.prompt, "tokens": args.tokens}
    finish({"bench": "gpu", **settings, "rounds": args.rounds, "results": results})


if __name__ == "__main__":
    run_command(_main)
