"""Experiment (a): the generated world, every objective at every exit over several seeds, from one common base.

The base is trained at its full depth alone: drills of pairs, then chats and longer drills, the rate falling. The
objectives go on from it with new rows.
"""

from __future__ import annotations

from pathlib import Path

from transformers import LlamaConfig

from .arms import Setting, arm_jobs, costs_jobs, methods_job
from .queue import Job

SEEDS = (1, 2, 3)
EXITS = (2, 4, 6)
SHAPE = LlamaConfig(
    vocab_size=4096,
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=EXITS[-1],
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    initializer_range=0.02,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
# Steps of an objective (of 4,096 positions); `--effort` multiplies them, and the base's.
STEPS, HEAD_STEPS = 450, 225
# Most of a row's ids: longer rows (7 in 100) are left out, of the scored ones too.
LENGTH = 128
# 16,000 rows leave more than 14,000 within LENGTH.
FILES: dict[str, tuple[str, ...]] = {
    "pairs-short": ("--drills", "3", "--n", "30000"),
    "pairs-long": ("--drills", "8", "--n", "8000"),
    "hops": ("--hops", "2", "--n", "6000"),
    "dates": ("--dates", "2", "--n", "4000"),
    "base-chats": ("--split", "train", "--n", "100000"),
    "held-out": ("--split", "validation", "--n", "40"),
    "scored": ("--split", "test_seen", "--n", "16000"),
}
# Rows of each seed's own training file: no row is read twice.
SEED_ROWS = 60_000
BASE_SEED = 11
# A seed's file is written from this number and the seed.
DATA_SEED = 100
# Rows on which ways to answer are compared, one at a time.
METHODS_ROWS = 50
# name, files, steps, options
BASE_STAGES: tuple[tuple[str, tuple[str, ...], int, tuple[str, ...]], ...] = (
    ("base-pairs", ("pairs-short",), 200, ("--final-lr-share", "1")),
    ("base", ("base-chats", "pairs-long", "hops", "dates"), 1350, ("--final-lr-share", "0.1")),
)
# Batches of 4,096 positions carry Muon's price.
MUON = ("--optimizer", "muon", "--batch", "32")
BASE_OPTIONS = ("--objective", "sft", *MUON, "--lr", "3e-3")
# Of every run: only the last held-out pass is wanted. Compiling does not pay at this size.
COMMON = ("--precision", "bf16", "--batch", "16", "--eval-every", "100000", "--keep", "last")
# The base's optimiser gets further in the same tokens than AdamW (docs/log.md, 2026-11-26).
ARM_OPTIONS = (*COMMON, *MUON, "--lr", "1e-3")


def base_jobs(runs: Path, tokenizer: Path, effort: float) -> list[Job]:
    """Data, shape and the common base, RUNS/base/model."""
    runs.mkdir(parents=True, exist_ok=True)
    SHAPE.save_pretrained(runs / "shape")
    seed = ("--seed", str(BASE_SEED))
    jobs = [
        Job(f"write-{name}", "sortie.world.cli", (*options, *seed, "--out", str(runs / f"{name}.jsonl")))
        for name, options in FILES.items()
    ]
    source = ("--fresh", str(runs / "shape" / "config.json"))
    for name, files, steps, options in BASE_STAGES:
        out = runs / name / "model"
        data = [str(runs / f"{file}.jsonl") for file in files]
        arguments = (*source, "--data", *data, "--held-out", str(runs / "held-out.jsonl"), "--skip-bad", *seed)
        arguments += ("--tokenizer", str(tokenizer), "--exits", ",".join(map(str, EXITS)), "--length", str(LENGTH))
        arguments += (*COMMON, *BASE_OPTIONS, *options, "--steps", str(round(effort * steps)))
        jobs.append(Job(name, "sortie.training", (*arguments, "--out", str(out), "--run", str(runs / name / "run"))))
        source = ("--model", str(out))
    return jobs


def setting_of(runs: Path, seed: int, effort: float) -> Setting:
    """What the arms of one seed share."""
    return Setting(
        base=runs / BASE_STAGES[-1][0] / "model",
        exits=EXITS,
        data=runs / f"train-{seed}.jsonl",
        scored=runs / "scored.jsonl",
        steps=round(effort * STEPS),
        head_steps=round(effort * HEAD_STEPS),
        options=(*ARM_OPTIONS, "--held-out", str(runs / "held-out.jsonl")),
        length=LENGTH,
        seed=seed,
    )


def rows_job(runs: Path, name: str, split: str, rows: int, seed: int) -> Job:
    """Writes RUNS/NAME.jsonl."""
    options = ("--split", split, "--n", str(rows), "--seed", str(seed), "--out", str(runs / f"{name}.jsonl"))
    return Job(f"write-{name}", "sortie.world.cli", options)


def world_jobs(runs: Path, tokenizer: Path, effort: float) -> list[Job]:
    """The whole experiment."""
    jobs = base_jobs(runs, tokenizer, effort)
    for seed in SEEDS:
        setting = setting_of(runs, seed, effort)
        rows = rows_job(runs, f"train-{seed}", "train", SEED_ROWS, DATA_SEED + seed)
        jobs += [rows, *arm_jobs(setting, runs, f"seed{seed}")]
        if seed == SEEDS[0]:
            jobs += costs_jobs(setting, runs) + [methods_job(setting, runs, f"seed{seed}", METHODS_ROWS)]
    return jobs
