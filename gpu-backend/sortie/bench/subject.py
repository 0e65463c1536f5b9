"""What the benchmarks of the engine measure: one checkpoint on one device, by this engine and by transformers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from ..engine.decoding import Decoding, Plain
from ..engine.runner import Runner
from ..engine.scheduler import Running, Scheduler
from ..engine.sequence import End, Job, Sequence, Token
from ..nested import open_checkpoint

# Most rows of a batch, and so many prompts.
BIGGEST = 16
CACHE_BYTES = {"cpu": 1 << 30, "cuda": 16 << 30}
CHUNK_TOKENS = 512


class Bench:
    """One checkpoint on one device, by this engine and by stock transformers."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype, prompt: int, tokens: int) -> None:
        self.stock = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
        self.model = open_checkpoint(folder, dtype=dtype).to(device)
        self.runner = Runner(self.model, BIGGEST, CACHE_BYTES[device.type])
        self.scheduler = Scheduler(self.runner, CHUNK_TOKENS)
        self.exits = self.scheduler.exits
        self.prompt, self.tokens = prompt, tokens
        generator = torch.Generator().manual_seed(1)
        vocabulary = self.runner.model.vocabulary
        self.prompts = torch.randint(3, vocabulary, (BIGGEST, prompt), generator=generator).tolist()

    @property
    def half(self) -> int:
        """The exit nearest to half depth."""
        return min(self.exits, key=lambda k: abs(k - self.exits[-1] / 2))

    def run(
        self,
        exits: list[int],
        decoding: Decoding | None = None,
        scheduler: Scheduler | None = None,
        shares: tuple[float, ...] = (1.0,),
    ) -> tuple[float, list[End]]:
        """Answers so many prompts at once, as far as they find room. Returns seconds and the ends.

        shares: of `tokens`, the lengths of answers, in turn.
        """
        scheduler = scheduler or self.scheduler
        ends: list[End] = []

        def hear(event: Token | End) -> None:
            if isinstance(event, End):
                ends.append(event)

        began = time.perf_counter()
        for prompt, share, exit_layer in zip(cycle(self.prompts), cycle(shares), exits, strict=False):
            job = Job(prompt, exit_layer, round(share * self.tokens), decoding=decoding or Plain())
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
