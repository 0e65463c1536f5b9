"""The recipe of models/tiny, as a queue of jobs.

Data and tokenizer; drills of pairs, short ones first; chats; drills of walks and dates, short ones first; chats again,
the learning rate falling; a stretch with long conversations; then the same once more for walks of four hops and what is
learnt by heart, an average of weights, a settling stretch from it and an average again; evaluation. docs/log.md tells
what each is for.
"""

from __future__ import annotations

from pathlib import Path

from transformers import LlamaConfig

from .queue import Job

SEED = 3
EXITS = (3, 6, 9, 12)
SHAPE = LlamaConfig(
    vocab_size=4096,
    hidden_size=192,
    intermediate_size=512,
    num_hidden_layers=12,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=32,
    max_position_embeddings=1024,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    initializer_range=0.02,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
# Files of the generated world: arguments of `sortie-world`; the seed is SEED where they name none.
FILES: dict[str, tuple[str, ...]] = {
    "held-out": ("--split", "validation", "--n", "1500"),
    "pairs-short": ("--drills", "3", "--n", "40000"),
    "pairs-long": ("--drills", "8", "--n", "40000"),
    "hops-2": ("--hops", "2", "--n", "5000"),
    "hops-3": ("--hops", "3", "--n", "2500"),
    "hops-5": ("--hops", "5", "--n", "20000"),
    "dates-1": ("--dates", "1", "--n", "2500"),
    "dates-2": ("--dates", "2", "--n", "1000"),
    "dates-3": ("--dates", "3", "--n", "8000"),
    "chats-few": ("--split", "train", "--n", "30000"),
    "chats": ("--split", "train", "--n", "200000"),
    "new-chats-few": ("--split", "train", "--n", "20000", "--seed", "4"),
    "hops-4": ("--hops", "4", "--least-hops", "4", "--n", "10000", "--seed", "4"),
    "recall-few": ("--recall", "--n", "8000", "--seed", "4"),
    "new-chats": ("--split", "train", "--n", "110000", "--seed", "5"),
    "hops-4-5": ("--hops", "5", "--least-hops", "4", "--n", "25000", "--seed", "5"),
    "recall": ("--recall", "--n", "25000", "--seed", "5"),
    "settling-chats": ("--split", "train", "--n", "45000", "--seed", "6"),
    "settling-hops": ("--hops", "5", "--least-hops", "4", "--n", "6000", "--seed", "6"),
    "settling-recall": ("--recall", "--n", "12000", "--seed", "6"),
}
# Files beside the checkpoint: prompts to calibrate with, and those that are evaluated.
ROWS: dict[str, tuple[str, ...]] = {
    "validation": ("--balanced", "--split", "validation", "--n", "2200"),
    "test": ("--balanced", "--split", "test_seen,test_unseen", "--n", "1400"),
}
# Most of a row's ids in a packed sequence: few rows are longer, and attention costs half of what it does at twice that.
SHORT, LONG = "128", "256"
CONSTANT_RATE = ("--final-lr-share", "1")
# name, files, further options of `sortie-train`, in order; each goes on from the one before.
STAGES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("drill-pairs", ("pairs-short",), ("--objective", "sft", "--steps", "400", "--lr", "3e-3", *CONSTANT_RATE)),
    ("drill-more-pairs", ("pairs-long",), ("--objective", "sft", "--steps", "400", "--lr", "3e-3", *CONSTANT_RATE)),
    ("first-chats", ("chats",), ("--objective", "soft", "--batch", "48", "--steps", "2500", "--lr", "3e-3")),
    # More than half of what is read are chats: from drills alone the facts were forgotten within 350 steps.
    (
        "drill-walks",
        ("chats-few", "hops-2", "hops-3", "dates-1", "dates-2"),
        ("--objective", "soft", "--batch", "32", "--steps", "600", "--lr", "1.2e-3", *CONSTANT_RATE),
    ),
    (
        "chats",
        ("chats", "hops-5", "dates-3"),
        ("--objective", "soft", "--exit-weights", "depth", "--distill", "0.5", "--batch", "32")
        + ("--steps", "2300", "--lr", "1.2e-3", "--final-lr-share", "0.1"),
    ),
    (
        "long-chats",
        ("chats", "hops-5", "dates-3"),
        ("--objective", "soft", "--exit-weights", "depth", "--distill", "0.5", "--length", LONG, "--batch", "16")
        + ("--steps", "100", "--lr", "1.2e-4", "--warm-up-share", "0"),
    ),
    # Four hops alone, then five beside them: both at once taught neither.
    (
        "drill-four-hops",
        ("new-chats-few", "hops-4", "recall-few"),
        ("--objective", "soft", "--exit-weights", "depth", "--distill", "0.5", "--batch", "32")
        + ("--steps", "300", "--lr", "1.2e-3", *CONSTANT_RATE),
    ),
    (
        "last-chats",
        ("new-chats", "hops-4-5", "recall"),
        ("--objective", "soft", "--distill", "0.5", "--batch", "32")
        + ("--steps", "900", "--lr", "1.2e-3", "--final-lr-share", "0.05"),
    ),
    (
        "last-long-chats",
        ("new-chats", "hops-4-5", "recall"),
        ("--objective", "soft", "--distill", "0.5", "--length", LONG, "--batch", "16")
        + ("--steps", "100", "--lr", "6e-5", "--warm-up-share", "0"),
    ),
    (
        "settling",
        ("settling-chats", "settling-hops", "settling-recall"),
        ("--objective", "soft", "--distill", "0.5", "--batch", "32")
        + ("--steps", "400", "--lr", "8e-4", "--final-lr-share", "0.03"),
    ),
)
# Stages that go on from an average of weights: an earlier stage, and its share beside the stage before.
AVERAGED = {"settling": ("long-chats", "0.3")}
# What is shipped: so much of the weights that the last stage went on from, the rest of those it made.
KEPT_SHARE = "0.75"
# Test rows that ways to answer are compared on.
COMPARED_ROWS = 100
# The first stage that a sorted checkpoint of the world skips to.
FURTHER = "drill-four-hops"


def average_job(name: str, later: str, earlier: str, share: str, out: Path) -> Job:
    """Writes the mean of two checkpoints' weights."""
    arguments = ("--later", later, "--earlier", earlier, "--share", share, "--out", str(out))
    return Job(name, "sortie.experiments.average", arguments)


def tiny_jobs(runs: Path, out: Path, base: Path | None = None) -> list[Job]:
    """The jobs, in order; `out` receives the checkpoint.

    base: a sorted checkpoint that has learnt the world's chats, with its tokenizer; the stages before FURTHER are then
    left out.
    """
    runs.mkdir(parents=True, exist_ok=True)
    shape = runs / "shape" / "config.json"
    SHAPE.save_pretrained(shape.parent)
    tokenizer = base or runs / "tokenizer"
    seed = ("--seed", str(SEED))
    common = ("--optimizer", "muon", "--precision", "bf16", "--compile", *seed, "--skip-bad")
    common += ("--exits", ",".join(map(str, EXITS)), "--tokenizer", str(tokenizer), "--keep", "last")
    common += ("--length", SHORT, "--batch", "24", "--held-out", str(runs / "held-out.jsonl"))
    jobs = [
        Job(
            f"write-{name}", "sortie.world.cli", ("--seed", str(SEED), *arguments, "--out", str(runs / f"{name}.jsonl"))
        )
        for name, arguments in FILES.items()
    ]
    stages = STAGES
    if base is None:
        jobs.append(Job("tokenizer", "sortie.world.tokens", (*seed, "--out", str(tokenizer))))
    else:
        stages = STAGES[[name for name, _, _ in STAGES].index(FURTHER) :]
    source = ("--fresh", str(shape)) if base is None else ("--model", str(base))
    for name, files, options in stages:
        if name in AVERAGED:
            earlier, share = AVERAGED[name]
            ran = any(stage == earlier for stage, _, _ in stages)
            older = runs / earlier / "model" if ran or base is None else base
            mean = runs / f"average-{name}" / "model"
            jobs.append(average_job(mean.parent.name, source[1], str(older), share, mean))
            source = ("--model", str(mean))
        start, target = source[1], runs / name / "model"
        data = [str(runs / f"{file}.jsonl") for file in files]
        # Later options win: a stage's own come last.
        arguments = (*source, "--data", *data, *common, *options, "--out", str(target))
        jobs.append(Job(name, "sortie.training", (*arguments, "--run", str(runs / name / "run"))))
        source = ("--model", str(target))
    jobs.append(average_job("average", source[1], start, KEPT_SHARE, out))
    for name, arguments in ROWS.items():
        to = ("--out", str(out / f"{name}.jsonl"))
        jobs.append(Job(f"write-{name}", "sortie.world.cli", (*arguments, *seed, *to)))
    compared = str(COMPARED_ROWS)
    begun = "" if base is None else ", going on from an earlier sorted checkpoint of the same world"
    made = f"Made by `python -m sortie.experiments tiny` (see `sortie/experiments/tiny.py`){begun}."
    return [
        *jobs,
        Job("evaluate", "sortie.evaluation", ("--checkpoint", str(out), "--methods", compared)),
        Job("card", "sortie.experiments.card", ("--checkpoint", str(out), "--made", made, "--prompts", compared)),
    ]
