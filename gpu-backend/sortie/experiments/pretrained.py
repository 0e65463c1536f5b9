"""Experiment (c): models that were pretrained elsewhere and never for exits; sorted fine-tuning without pre-training.

One seed. Every layer is an exit; stories are scored by likelihood. `extracted` is left out: with an exit after each
layer it would be most of the work.
"""

from __future__ import annotations

from pathlib import Path

from .arms import Setting, arm_jobs
from .queue import Job
from .text import HELD_OUT_ROWS, STORIES
from .world import COMMON

SEED = 1
# Folders of --checkpoints, and their layers.
CHECKPOINTS = {"stories260k": 5, "babyllama-char361": 5}
STORY_ROWS, SCORED_ROWS = 3_000, 300
# One of the two reads characters: pieces of so many fit in LENGTH ids.
STORY_CHARACTERS, LENGTH = 120, 128
STEPS, HEAD_STEPS = 60, 40
OPTIONS = ("--optimizer", "adamw", "--lr", "1e-3", "--held-out-rows", str(HELD_OUT_ROWS))


def pretrained_jobs(runs: Path, data: Path, checkpoints: Path, effort: float) -> list[Job]:
    """The whole experiment. data: folder of text/; checkpoints: folder of the pretrained models."""
    runs.mkdir(parents=True, exist_ok=True)
    train, scored = runs / "stories.jsonl", runs / "scored.jsonl"
    arguments = ("stories", "--files", str(data / STORIES), "--train", str(train), "--scored", str(scored))
    arguments += ("--n", str(STORY_ROWS), "--n-scored", str(SCORED_ROWS), "--characters", str(STORY_CHARACTERS))
    jobs = [Job("write-stories", "sortie.experiments.texts", arguments)]
    for name, layers in CHECKPOINTS.items():
        setting = Setting(
            base=checkpoints / name,
            exits=tuple(range(1, layers + 1)),
            data=train,
            scored=scored,
            steps=round(effort * STEPS),
            head_steps=round(effort * HEAD_STEPS),
            options=(*COMMON, *OPTIONS),
            length=LENGTH,
            seed=SEED,
            extracted=False,
        )
        jobs += arm_jobs(setting, runs, name)
    return jobs
