"""The recipe of models/tiny, as a queue: data, tokenizer, drills (short ones first), sorted fine-tuning, evaluation."""

from __future__ import annotations

from pathlib import Path

from transformers import LlamaConfig

from .queue import Job

SEED = 1
ROWS = 400_000
HELD_OUT_ROWS = 2_000
DRILL_ROWS = 80_000
# Largest drills of the two stages.
SHORT_DRILLS, LONG_DRILLS = 3, 8
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


def tiny_jobs(runs: Path, out: Path) -> list[Job]:
    """The jobs, in order; `out` receives the checkpoint."""
    runs.mkdir(parents=True, exist_ok=True)
    shape = runs / "shape" / "config.json"
    SHAPE.save_pretrained(shape.parent)
    tokenizer = runs / "tokenizer"
    files = {name: runs / f"{name}.jsonl" for name in ("train", "held-out", "drills-short", "drills-long")}
    exits = ",".join(map(str, EXITS))
    common = ["--optimizer", "muon", "--precision", "bf16", "--compile", "--seed", str(SEED), "--exits", exits]
    common += ["--tokenizer", str(tokenizer), "--length", "256", "--batch", "32"]
    drilled = ["--objective", "sft", "--keep", "last", "--final-lr-share", "1", "--lr", "3e-3", *common]

    def world(name: str, *arguments: str) -> Job:
        return Job(name, "sortie.world.cli", (*arguments, "--seed", str(SEED), "--out", str(files[name])))

    def train(name: str, *arguments: str) -> Job:
        return Job(name, "sortie.training", (*arguments, "--out", str(runs / name / "model")))

    return [
        world("train", "--split", "train", "--n", str(ROWS)),
        world("held-out", "--split", "validation", "--n", str(HELD_OUT_ROWS)),
        world("drills-short", "--drills", str(SHORT_DRILLS), "--n", str(DRILL_ROWS)),
        world("drills-long", "--drills", str(LONG_DRILLS), "--n", str(DRILL_ROWS)),
        Job("tokenizer", "sortie.world.tokens", ("--seed", str(SEED), "--out", str(tokenizer))),
        train("drill-short", "--fresh", str(shape), "--data", str(files["drills-short"]), *drilled),
        train(
            "drill-long", "--model", str(runs / "drill-short" / "model"), "--data", str(files["drills-long"]), *drilled
        ),
        Job(
            "fine-tune",
            "sortie.training",
            (
                *("--model", str(runs / "drill-long" / "model"), "--objective", "soft+", "--lr", "3e-3"),
                *("--data", str(files["train"]), "--held-out", str(files["held-out"]), *common, "--out", str(out)),
            ),
        ),
        Job("evaluate", "sortie.evaluation", ("--checkpoint", str(out), "--methods", "500")),
    ]
