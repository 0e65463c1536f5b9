"""Options of a training run: from the command line, or a TOML file that the command line overrides."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import UserError
from ..objectives import PRESETS, WEIGHTS, Objective, objective_of


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on; two runs of equal configurations give equal weights."""

    out: Path
    run: Path
    data: tuple[Path, ...]
    objective: Objective
    model: Path | None = None
    fresh: Path | None = None
    tokenizer: Path | None = None
    teacher: Path | None = None
    chat_template: Path | None = None
    exits: tuple[int, ...] | None = None
    cut_at: int | None = None
    held_out: Path | None = None
    held_out_rows: int = 500
    skip_bad: bool = False
    length: int = 256
    batch: int = 16
    accumulate: int = 1
    epochs: float = 1.0
    steps: int | None = None
    lr: float = 1e-4
    final_lr_share: float = 0.02
    warm_up_share: float = 0.02
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    gradient_norm: float = 1.0
    seed: int = 1
    precision: str = "no"
    checkpointing: bool = False
    compile: bool = False
    save_every: int = 200
    eval_every: int = 200
    log_every: int = 10
    keep: str = "best"
    dtype: str = "bf16"

    def __post_init__(self) -> None:
        """Raises UserError for options that cannot go together."""
        if (self.model is None) == (self.fresh is None):
            raise UserError("give either --model DIR (fine-tune it) or --fresh CONFIG.json (new weights)")
        if self.fresh is not None and self.tokenizer is None:
            raise UserError("--fresh needs --tokenizer DIR")
        for name in ("length", "batch", "accumulate", "save_every", "eval_every", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1")
        if not self.data:
            raise UserError("--data FILE: give at least one file of rows")


def parser() -> argparse.ArgumentParser:
    """The command line of `sortie-train`."""
    top = argparse.ArgumentParser(
        prog="sortie-train",
        description="Fine-tunes a LLaMA-family checkpoint so that every chosen prefix of its layers is a usable model.",
        epilog="On several devices: `accelerate launch --config_file FILE -m sortie.training …` (see launch/).",
    )
    add = top.add_argument
    add("--config", type=Path, help="TOML file of these options, without the dashes; the command line overrides it")

    group = top.add_argument_group("model")
    add = group.add_argument
    add("--model", type=Path, help="checkpoint folder to fine-tune")
    add("--fresh", type=Path, metavar="CONFIG", help="config.json of a model to make with new weights instead")
    add("--tokenizer", type=Path, help="folder of the tokenizer (default: --model)")
    add("--chat-template", type=Path, help="Jinja file, where the tokenizer has none")
    add("--exits", type=numbers, help="layers after which the model may stop: 3,6,9,12 (default: the checkpoint's)")
    add("--out", type=Path, help="checkpoint folder to write")
    add("--dtype", choices=("bf16", "fp16", "fp32"), help="type of the written weights (default: bf16)")

    group = top.add_argument_group("objective")
    add = group.add_argument
    add("--objective", choices=PRESETS, help="default: soft")
    add("--cut-at", type=int, metavar="LAYER", help="exit to keep, for the objective `extracted`")
    add("--exit-weights", choices=WEIGHTS, help="how much each exit's loss counts")
    add(
        "--distill", type=float, help="share of an exit's loss that is KL from --teacher, or else from the deepest exit"
    )
    add("--teacher", type=Path, help="checkpoint folder whose deepest exit teaches every exit")
    add("--sample-exits", type=int, metavar="N", help="train N shallower exits a step, drawn anew")
    add("--layer-dropout", type=float, help="greatest chance of leaving a layer out of a step")

    group = top.add_argument_group("data")
    add = group.add_argument
    add("--data", type=Path, nargs="+", help=".jsonl of chats or Alpaca rows, .json array of them, or .txt")
    add("--held-out", type=Path, help="rows to select the best checkpoint by (default: some of --data)")
    add("--held-out-rows", type=int, help="rows of --data held out where no file is given (default: 500)")
    add("--skip-bad", action=argparse.BooleanOptionalAction, help="go on without rows that cannot be used")
    add("--length", type=int, help="ids of a packed sequence (default: 256)")

    group = top.add_argument_group("optimisation")
    add = group.add_argument
    add("--batch", type=int, help="packed sequences of one pass on one device (default: 16)")
    add("--accumulate", type=int, help="passes of one step (default: 1)")
    add("--epochs", type=float, help="default: 1")
    add("--steps", type=int, help="steps, whatever the epochs")
    add("--lr", type=float, help="highest learning rate (default: 1e-4)")
    add("--warm-up-share", type=float, help="share of the steps with a rising rate (default: 0.02)")
    add("--final-lr-share", type=float, help="the cosine ends at this share of the rate (default: 0.02)")
    add("--weight-decay", type=float, help="default: 0.05")
    add("--optimizer", choices=("adamw", "muon"), help="muon: for the layers' matrices, AdamW for the rest")
    add("--gradient-norm", type=float, help="longest gradient (default: 1)")
    add("--seed", type=int, help="of order, draws and new weights (default: 1)")
    add("--precision", choices=("no", "bf16", "fp16"), help="of the products; weights stay float32 (default: no)")
    add("--checkpointing", action=argparse.BooleanOptionalAction, help="recompute layers in the backward pass")
    add("--compile", action=argparse.BooleanOptionalAction, help="compile the layers")

    group = top.add_argument_group("run")
    add = group.add_argument
    add("--run", type=Path, help="folder of state, logs and plots; the same command resumes from it (default: OUT.run)")
    add("--save-every", type=int, help="steps between saved states (default: 200)")
    add("--eval-every", type=int, help="steps between held-out evaluations (default: 200)")
    add("--log-every", type=int, help="steps between log entries (default: 10)")
    add("--keep", choices=("best", "last"), help="which weights --out gets (default: best)")
    return top


def numbers(text: str) -> tuple[int, ...]:
    """`3,6` → (3, 6)."""
    return tuple(int(part) for part in text.split(","))


# Options that shape the objective, by the field they change.
OBJECTIVE_OPTIONS = {
    "exit_weights": "weights",
    "distill": "distill",
    "sample_exits": "sampled",
    "layer_dropout": "layer_dropout",
}
PATHS = ("model", "fresh", "tokenizer", "teacher", "chat_template", "held_out", "out", "run")


def config_of(argv: list[str] | None = None) -> TrainConfig:
    """The configuration of a command line. Raises UserError for what cannot be."""
    given = {key: value for key, value in vars(parser().parse_args(argv)).items() if value is not None}
    options: dict[str, object] = {}
    if (file := given.pop("config", None)) is not None:
        options = _from_toml(file)
    return from_options({**options, **given})


def from_options(options: dict[str, object]) -> TrainConfig:
    """The configuration of named options (those of the command line, with underscores)."""
    options = dict(options)
    changes = {field_: options.pop(option, None) for option, field_ in OBJECTIVE_OPTIONS.items()}
    objective = objective_of(str(options.pop("objective", "soft")), **changes)
    if "out" not in options:
        raise UserError("--out DIR: where to write the checkpoint")
    for name in PATHS:
        if name in options:
            options[name] = Path(str(options[name]))
    files = options.get("data") or ()
    options["data"] = tuple(Path(str(f)) for f in ([files] if isinstance(files, (str, Path)) else files))
    if "exits" in options:
        exits = options["exits"]
        options["exits"] = numbers(exits) if isinstance(exits, str) else tuple(exits)
    options.setdefault("run", options["out"].with_name(options["out"].name + ".run"))
    return TrainConfig(objective=objective, **options)


def _from_toml(file: Path) -> dict[str, object]:
    try:
        options = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{file}: {error}") from error
    options = {key.replace("-", "_"): value for key, value in options.items()}
    known = {f.name for f in fields(TrainConfig)} | set(OBJECTIVE_OPTIONS)
    if unknown := sorted(set(options) - known):
        raise UserError(f"{file}: unknown option {', '.join(unknown)}")
    return options
