"""What the preset `soft+` was chosen from: variants of sorted fine-tuning on the generated world's base.

A seed and rows of its own, so that nothing the experiment is scored on took part in the choice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .arms import model_of, score_job, train_job
from .queue import Job
from .world import BASE_SEED, DATA_SEED, SEED_ROWS, base_jobs, rows_job, setting_of

NAME = "tuning"
SEED, ROWS = 9, 1500
# Of the experiment's steps.
STEPS_SHARE = 0.5
SOFT = ("--objective", "soft")
DISTILLED = ("--distill", "0.5")
VARIANTS: dict[str, tuple[str, ...]] = {
    "sft": ("--objective", "sft"),
    "soft": SOFT,
    "depth-distilled": (*SOFT, "--exit-weights", "depth", *DISTILLED),
    "half-distilled": (*SOFT, "--exit-weights", "half", *DISTILLED),
    "half": (*SOFT, "--exit-weights", "half"),
    "depth-one-exit": (*SOFT, "--exit-weights", "depth", *DISTILLED, "--sample-exits", "1"),
    "depth-dropout": (*SOFT, "--exit-weights", "depth", *DISTILLED, "--layer-dropout", "0.1"),
    "balcony": ("--objective", "balcony"),
}


def tuning_jobs(runs: Path, tokenizer: Path, effort: float) -> list[Job]:
    """The base, unless it stands there, and the variants. runs: the folder of the experiment `world`."""
    setting = replace(setting_of(runs, SEED, effort * STEPS_SHARE), scored=runs / f"{NAME}-scored.jsonl")
    jobs = [
        *base_jobs(runs, tokenizer, effort),
        rows_job(runs, f"train-{SEED}", "train", SEED_ROWS, DATA_SEED + SEED),
        rows_job(runs, f"{NAME}-scored", "validation", ROWS, BASE_SEED),
    ]
    trained = [train_job(setting, runs, NAME, name, setting.base, options) for name, options in VARIANTS.items()]
    scored = {name: model_of(runs, NAME, name) for name in VARIANTS}
    return [*jobs, *trained, score_job(setting, runs, NAME, f"{NAME}-scores", scored)]
