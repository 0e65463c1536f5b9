"""The objectives that are compared, and the jobs that train them from one base and score every exit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .queue import Job

# Objectives, in the order they train: ICT needs the SFT before it.
SFT, ICT, SOFT, EXTRACTED, OURS = "sft", "sft+ict", "soft", "extracted", "soft+"
# The base as it is, before any of them.
BASE = "base"


@dataclass(frozen=True)
class Setting:
    """What all objectives of a comparison share: base, data, steps, rows that are scored."""

    base: Path
    exits: tuple[int, ...]
    data: Path
    scored: Path
    steps: int
    # ICT's one epoch: steps over the heads alone.
    head_steps: int
    # Further options of `sortie-train`, the same for every objective.
    options: tuple[str, ...]
    # Longest row that is trained on and scored, ids.
    length: int
    seed: int
    extracted: bool = True


def arm_names(exits: tuple[int, ...], extracted: bool = True) -> list[str]:
    """Names of all arms; `extracted-K` stands for the network cut after layer K.

    That is after each exit, and one layer after the first: as many layers as that exit has with one of its own.
    """
    depths = sorted({*exits[:-1], exits[0] + 1} - {exits[-1]})
    cut = [f"{EXTRACTED}-{layers}" for layers in depths] if extracted else []
    return [SFT, ICT, SOFT, *cut, OURS]


def arm_jobs(setting: Setting, runs: Path, prefix: str) -> list[Job]:
    """Jobs PREFIX-ARM that train each arm, and two that score base and arms into RUNS/PREFIX-scores."""
    names = arm_names(setting.exits, setting.extracted)
    jobs = [score_job(setting, runs, prefix, f"{prefix}-scores-base", {BASE: setting.base}, setting.exits)]
    for name in names:
        base = model_of(runs, prefix, SFT) if name == ICT else setting.base
        own = () if name != ICT else ("--steps", str(setting.head_steps))
        jobs.append(train_job(setting, runs, prefix, name, base, (*objective_options(name), *own)))
    scored = {name: model_of(runs, prefix, name) for name in names}
    return [*jobs, score_job(setting, runs, prefix, f"{prefix}-scores", scored)]


def objective_options(name: str) -> tuple[str, ...]:
    """Options of an arm's objective by the arm's name."""
    objective, _, cut = name.partition("-")
    return ("--objective", objective, *(("--cut-at", cut) if cut else ()))


def model_of(runs: Path, prefix: str, name: str) -> Path:
    """Where an arm's checkpoint lies."""
    return runs / f"{prefix}-{name}" / "model"


def train_job(setting: Setting, runs: Path, prefix: str, name: str, base: Path, options: tuple[str, ...]) -> Job:
    """Trains from a base; options: those of the one run, which win over the setting's."""
    out = model_of(runs, prefix, name)
    arguments = ("--model", str(base), "--exits", ",".join(map(str, setting.exits)), "--data", str(setting.data))
    arguments += ("--skip-bad", "--length", str(setting.length))
    arguments += ("--seed", str(setting.seed), "--steps", str(setting.steps), *setting.options, *options)
    return Job(f"{prefix}-{name}", "sortie.training", (*arguments, "--out", str(out), "--run", str(out.parent / "run")))


def score_job(
    setting: Setting,
    runs: Path,
    prefix: str,
    name: str,
    checkpoints: dict[str, Path],
    exits: tuple[int, ...] | None = None,
) -> Job:
    """A job that scores checkpoints on the setting's rows. exits: of checkpoints that name none."""
    arguments = ("--rows", str(setting.scored), "--length", str(setting.length))
    arguments += ("--out", str(runs / f"{prefix}-scores"))
    arguments += ("--exits", ",".join(map(str, exits))) if exits else ()
    named = (f"{arm}={folder}" for arm, folder in checkpoints.items())
    return Job(name, "sortie.experiments.score", (*arguments, "--checkpoints", *named))


def costs_jobs(setting: Setting, runs: Path) -> list[Job]:
    """Jobs that measure a step of every arm into RUNS/costs/ARM.json."""
    jobs = []
    for name in arm_names(setting.exits, setting.extracted):
        arguments = ("--model", str(setting.base), "--exits", ",".join(map(str, setting.exits)))
        arguments += ("--data", str(setting.data), "--length", str(setting.length), *objective_options(name))
        arguments += ("--out", str(runs / "costs" / f"{name}.json"))
        jobs.append(Job(f"costs-{name}", "sortie.experiments.costs", arguments))
    return jobs


def methods_job(setting: Setting, runs: Path, prefix: str, rows: int) -> Job:
    """A job that compares ways to answer with the prefix's `soft`, into RUNS/methods/PREFIX.json."""
    arguments = ("--checkpoint", str(model_of(runs, prefix, SOFT)), "--rows", str(setting.scored))
    arguments += ("--n", str(rows), "--out", str(runs / "methods" / f"{prefix}.json"))
    return Job(f"methods-{prefix}", "sortie.experiments.methods", arguments)
