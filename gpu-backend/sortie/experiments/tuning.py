"""Ways to train all exits through shared layers: variants of sorted fine-tuning on the generated world's base.

A seed and rows of its own, so that nothing the experiment is scored on took part in the choice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .arms import model_of, score_job, train_job
from .queue import Job
from .world import BASE_SEED, DATA_SEED, SEED_ROWS, base_jobs, rows_job, setting_of

NAME = "tuning"
SEED, ROWS = 9, 6000
SOFT = ("--objective", "soft")
HALF = (*SOFT, "--exit-weights", "half")
TAUGHT = ("--distill", "0.9")
VARIANTS: dict[str, tuple[str, ...]] = {
    "sft": ("--objective", "sft"),
    "soft-taught": (*SOFT, *TAUGHT),
    "half-taught": (*HALF, *TAUGHT),
    "half-one-exit": (*HALF, "--sample-exits", "1"),
}
# Whom a variant learns from, where it is not itself.
TEACHERS = {"soft-taught": "sft", "half-taught": "sft"}


def tuning_jobs(runs: Path, tokenizer: Path, effort: float) -> list[Job]:
    """The base, unless it stands there, and the variants. runs: the folder of the experiment `world`."""
    setting = replace(setting_of(runs, SEED, effort), scored=runs / f"{NAME}-scored.jsonl")
    jobs = [
        *base_jobs(runs, tokenizer, effort),
        rows_job(runs, f"train-{SEED}", "train", SEED_ROWS, DATA_SEED + SEED),
        rows_job(runs, f"{NAME}-scored", "validation", ROWS, BASE_SEED),
    ]

    def teacher(name: str) -> tuple[str, ...]:
        by = TEACHERS.get(name)
        return () if by is None else ("--teacher", str(model_of(runs, NAME, by)))

    trained = [
        train_job(setting, runs, NAME, name, setting.base, (*options, *teacher(name)))
        for name, options in VARIANTS.items()
    ]
    scored = {name: model_of(runs, NAME, name) for name in VARIANTS}
    return [*jobs, *trained, score_job(setting, runs, NAME, f"{NAME}-scores", scored)]
