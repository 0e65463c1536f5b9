"""Experiment (b): real text. A small base reads TinyStories; the objectives then learn Alpaca's short rows, or facts.

One seed. Alpaca is scored by likelihood on held-out rows, the facts of Wikidata by closed-book exact match.
"""

from __future__ import annotations

from pathlib import Path

from .arms import Setting, arm_jobs, methods_job
from .queue import Job
from .world import BASE_OPTIONS, COMMON, EXITS, LENGTH, SHAPE

SEED = 1
# Rows on which ways to answer are compared, one at a time.
METHODS_ROWS = 20
STORY_ROWS, ALPACA_ROWS, ALPACA_SCORED, FACTS = 6_000, 3_000, 500, 150
# A file of each, below --data.
STORIES = "text/tinystories_first2MiB.txt"
ALPACA = "instruct/alpaca_52k_en.json"
WIKIDATA = "qa/bigbench_qa_wikidata.jsonl"
# For the trainer's own last pass, in one batch.
HELD_OUT_ROWS = 24
BASE_STEPS = 200
BASE_ARGUMENTS = (*COMMON, *BASE_OPTIONS, "--final-lr-share", "0.1", "--length", str(LENGTH))
# Steps of an objective and of ICT's heads.
STEPS, HEAD_STEPS = 90, 45
ARM_OPTIONS = (*COMMON, "--optimizer", "adamw", "--lr", "1e-3")
# Facts must be read several times to be learnt; they are few and short, so half a batch is enough.
WIKIDATA_OPTIONS = ("--lr", "2e-3", "--batch", "8")


def text_jobs(runs: Path, data: Path, tokenizer: Path, effort: float) -> list[Job]:
    """The whole experiment. data: folder of the three source files."""
    runs.mkdir(parents=True, exist_ok=True)
    SHAPE.save_pretrained(runs / "shape")

    def write(kind: str, file: str, *counts: str) -> Job:
        targets = ("--train", str(runs / f"{kind}.jsonl"), "--scored", str(runs / f"{kind}-scored.jsonl"))
        return Job(f"write-{kind}", "sortie.experiments.texts", (kind, "--files", str(data / file), *targets, *counts))

    base = runs / "base" / "model"
    arguments = ("--fresh", str(runs / "shape" / "config.json"), "--tokenizer", str(tokenizer), "--skip-bad")
    arguments += ("--data", str(runs / "stories.jsonl"), "--held-out", str(runs / "stories-scored.jsonl"))
    arguments += ("--exits", ",".join(map(str, EXITS)), *BASE_ARGUMENTS)
    arguments += ("--seed", str(SEED), "--steps", str(round(effort * BASE_STEPS)))
    jobs = [
        write("stories", STORIES, "--n", str(STORY_ROWS), "--n-scored", str(HELD_OUT_ROWS)),
        write("alpaca", ALPACA, "--n", str(ALPACA_ROWS), "--n-scored", str(ALPACA_SCORED)),
        write("wikidata", WIKIDATA, "--n", str(FACTS)),
        Job("base", "sortie.training", (*arguments, "--out", str(base), "--run", str(base.parent / "run"))),
    ]
    compared = []
    for kind, options in (("alpaca", ()), ("wikidata", WIKIDATA_OPTIONS)):
        setting = Setting(
            base=base,
            exits=EXITS,
            data=runs / f"{kind}.jsonl",
            scored=runs / f"{kind}-scored.jsonl",
            steps=round(effort * STEPS),
            head_steps=round(effort * HEAD_STEPS),
            options=(*ARM_OPTIONS, "--held-out-rows", str(HELD_OUT_ROWS), *options),
            length=LENGTH,
            seed=SEED,
        )
        jobs += arm_jobs(setting, runs, kind)
        compared.append(methods_job(setting, runs, kind, METHODS_ROWS))
    return [*jobs, *compared]
