"""What a run begins with: devices, models, rows."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from tqdm import tqdm
from transformers import AutoConfig

from ..attention import WRITTEN_OUT
from ..data.encode import Encoded, Encoder, encode_rows
from ..data.rows import BadRow, describe_bad, read_rows
from ..errors import UserError
from ..nested import NestedModel, fresh, open_checkpoint
from ..objectives import prepare
from .config import TrainConfig


def make_accelerator(precision: str) -> Accelerator:
    """Accelerate as launched, and sharding between CPU processes too, which it leaves to GPUs (for trying out)."""
    on_cpu = os.environ.get("ACCELERATE_USE_CPU") == "true"
    PartialState(cpu=on_cpu)  # the sharding plugin would make one that knows nothing of on_cpu
    accelerator = Accelerator(mixed_precision=precision, cpu=on_cpu)
    sharded = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    if sharded and accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
    return accelerator


def load_model(config: TrainConfig, device: str) -> NestedModel:
    """The model a run starts from, as its objective wants it. device: `cpu`, `cuda`, …"""
    if config.fresh is not None:
        shape = AutoConfig.from_pretrained(config.fresh)
        model = fresh(shape, config.exits or (shape.num_hidden_layers,), config.seed)
    else:
        model = open_checkpoint(config.model, config.exits)
    model = prepare(model, config.objective, config.cut_at)
    if device == "cpu":
        model.lm.set_attn_implementation(WRITTEN_OUT)
    if config.checkpointing:
        model.lm.activation_checkpointing_enable({"use_reentrant": False})
    if config.compile:
        for layer in model.lm.model.layers:
            layer.compile(dynamic=False)
    return model


def load_teacher(config: TrainConfig, accelerator: Accelerator) -> NestedModel | None:
    """The model that teaches, where one is named; whole on every device."""
    if config.teacher is None:
        return None
    teacher = open_checkpoint(config.teacher)
    if accelerator.device.type == "cpu":
        teacher.lm.set_attn_implementation(WRITTEN_OUT)
    return teacher.to(accelerator.device)


def load_data(config: TrainConfig, encoder: Encoder, accelerator: Accelerator) -> tuple[list[Encoded], list[Encoded]]:
    """Rows to train on and rows to select by."""

    def read(path: Path) -> list[Encoded]:
        rows, bad = read_rows(path, config.skip_bad)
        shown = tqdm(rows, desc=f"encoding {path.name}", disable=not accelerator.is_main_process)
        encoded, unfit = encode_rows(encoder, shown, config.length)
        _report(path, bad, unfit, config.skip_bad, accelerator)
        if not encoded:
            raise UserError(f"{path} has no row that fits in --length {config.length}")
        return encoded

    rows = [row for path in config.data for row in read(path)]
    if config.held_out is not None:
        return rows, read(config.held_out)
    order = list(range(len(rows)))
    Random(f"{config.seed}:held-out").shuffle(order)
    count = min(config.held_out_rows, len(rows) // 10)
    aside = set(order[:count])
    if not aside:
        raise UserError("too few rows to hold some out: pass --held-out FILE")
    return [row for i, row in enumerate(rows) if i not in aside], [rows[i] for i in sorted(aside)]


def _report(path: Path, bad: list[BadRow], unfit: list[BadRow], skip: bool, accelerator: Accelerator) -> None:
    if unfit and not skip:
        raise UserError(f"{path}: {describe_bad(unfit)}; raise --length, or pass --skip-bad to go on without them")
    if bad or unfit:
        accelerator.print(f"{path}: skipped {describe_bad(bad + unfit)}")
