"""The training loop: batches, steps, held-out evaluations, states to resume from, the checkpoint at the end."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from tqdm import tqdm

from ..data.encode import Encoded, Encoder, copy_tokenizer, open_tokenizer
from ..data.packing import Batch, Batches
from ..errors import UserError
from ..nested import DTYPES, NestedModel, save_checkpoint
from ..objectives import SortedObjective
from .config import TrainConfig
from .journal import Journal
from .optimizer import learning_rate, optimizers, set_rate
from .setup import load_data, load_model, load_teacher, make_accelerator

STATE = "state"
BEST = "best"
CONFIG = "config.json"


@dataclass
class Progress:
    """Where a run stands: what a resumed run must know beside weights and optimisers."""

    step: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0
    # The configuration and data it began with.
    fingerprint: str = ""

    def state_dict(self) -> dict[str, Any]:
        """For Accelerate."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For Accelerate."""
        self.__dict__.update(state)


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    steps: int
    seconds: float
    best_step: int
    held_out: dict[int, float] = field(default_factory=dict)


def train(config: TrainConfig) -> Result:
    """Trains, or goes on with a run that was cut off, and writes the checkpoint.

    Raises UserError for data, models and settings that cannot work, and where the loss or the memory runs away.
    """
    accelerator = make_accelerator(config.precision)
    set_seed(config.seed)
    source = config.tokenizer or config.model
    model = load_model(config, accelerator.device.type)
    encoder = Encoder(open_tokenizer(source, config.chat_template), model.vocabulary)
    rows, held_out = load_data(config, encoder, accelerator)
    run = Run(config, accelerator, model, rows, held_out, encoder)
    try:
        result = run.go()
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            "out of memory: lower --batch (and raise --accumulate by as much), lower --length, or pass --checkpointing"
        ) from error
    if accelerator.is_main_process:
        copy_tokenizer(source, config.out)
        if config.chat_template is not None:
            shutil.copyfile(config.chat_template, config.out / "chat_template.jinja")
    accelerator.end_training()
    return result


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Run:
    """One run: everything that outlives a step."""

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        model: NestedModel,
        rows: list[Encoded],
        held_out: list[Encoded],
        encoder: Encoder,
    ) -> None:
        self.config = config
        self.accelerator = accelerator
        if config.optimizer == "muon" and accelerator.distributed_type == DistributedType.FSDP:
            raise UserError("--optimizer muon needs whole matrices: not with FSDP")
        if config.objective.apart and accelerator.distributed_type == DistributedType.FSDP:
            raise UserError(f"{config.objective.name} reads the shared head as a constant: not with FSDP")
        self.batches = Batches(rows, config.length, config.batch, encoder.pad, config.seed)
        self.held_out = list(Batches(held_out, config.length, config.batch, encoder.pad, config.seed).once())
        self.passes = config.accumulate * accelerator.num_processes
        self.steps = config.steps or max(1, round(config.epochs * self.batches.epoch_steps / self.passes))
        objective = SortedObjective(model, config.objective, config.seed, load_teacher(config, accelerator))
        self.module, *self.opts = accelerator.prepare(objective, *optimizers(model, config))
        self.progress = Progress(fingerprint=fingerprint(config, rows))
        accelerator.register_for_checkpointing(self.progress)
        self.resume()

    def go(self) -> Result:
        """Steps until the last, evaluating and saving on the way; then writes the checkpoint."""
        config, progress, main = self.config, self.progress, self.accelerator.is_main_process
        journal = Journal(config.run, progress.step) if main else None
        started = time.monotonic() - progress.seconds
        bar = tqdm(total=self.steps, initial=progress.step, unit="step", disable=not main)
        seen, since = 0, time.monotonic()
        measured: dict[int, float] = {}
        while progress.step < self.steps:
            rate = learning_rate(progress.step, self.steps, config)
            losses, learnt = self.step(rate)
            shown = {k: round(loss / learnt, 4) for k, loss in losses.items()}
            progress.step += 1
            self.check(shown)
            progress.seconds = time.monotonic() - started
            bar.update()
            seen += config.length * config.batch * self.passes
            last = progress.step == self.steps
            if progress.step % config.log_every == 0 or last:
                speed = round(seen / (time.monotonic() - since))
                seen, since = 0, time.monotonic()
                bar.set_postfix({f"exit {k}": loss for k, loss in shown.items()})
                if journal is not None:
                    journal.write("train", progress.step, loss=shown, lr=rate, positions_per_s=speed)
            if progress.step % config.eval_every == 0 or last:
                loss, measured = self.evaluate()
                if journal is not None:
                    journal.write("held-out", progress.step, loss=measured, seconds=round(progress.seconds, 1))
                if loss < progress.best_loss:
                    progress.best_loss, progress.best_step = loss, progress.step
                    self.write(config.run / BEST)
                since = time.monotonic()
            if progress.step % config.save_every == 0 or last:
                self.save()
        bar.close()
        if not measured:  # the run had ended before
            _, measured = self.evaluate()
        if journal is not None:
            journal.close()
        self.finish()
        return Result(progress.step, progress.seconds, progress.best_step, measured)

    def step(self, rate: float) -> tuple[dict[int, float], int]:
        """One step at a learning rate: each exit's summed loss on this process, and its count of positions."""
        config, accelerator, step = self.config, self.accelerator, self.progress.step
        first = (step * config.accumulate) * accelerator.num_processes + accelerator.process_index
        passes = [self.batches[first + i * accelerator.num_processes] for i in range(config.accumulate)]
        learnt = sum(batch.learnt for batch in passes)
        # Every position counts the same, however the rows fell on processes and passes.
        everywhere = int(accelerator.reduce(torch.tensor(learnt, device=accelerator.device)).item())
        scale = accelerator.num_processes / max(everywhere, 1)
        set_rate(self.opts, rate)
        sums: dict[int, float] = {}
        for i, batch in enumerate(passes):
            hold = accelerator.no_sync(self.module) if i + 1 < len(passes) else nullcontext()
            with hold:
                loss = self.module(batch.to(accelerator.device), step)
                accelerator.backward(loss.total * scale)
            for k, value in loss.exits.items():
                sums[k] = sums.get(k, 0.0) + value.item()
        for part in accelerator.unwrap_model(self.module).parts():
            accelerator.clip_grad_norm_(part, config.gradient_norm)
        for opt in self.opts:
            opt.step()
            opt.zero_grad()
        return sums, max(learnt, 1)

    def check(self, losses: dict[int, float]) -> None:
        """Raises UserError for a loss that is no number."""
        for k, loss in losses.items():
            if not math.isfinite(loss):
                raise UserError(
                    f"step {self.progress.step}: the loss of exit {k} is {loss}; lower --lr, or use --precision no. "
                    f"The last good state is in {self.config.run / STATE}"
                )

    def evaluate(self) -> tuple[float, dict[int, float]]:
        """Held-out cross-entropy in nats per position: by the objective's weights, and of every exit."""
        accelerator = self.accelerator
        exits = accelerator.unwrap_model(self.module).model.exits
        sums = torch.zeros(len(exits) + 2)  # the objective's loss, positions, each exit's loss
        processes, own = accelerator.num_processes, accelerator.process_index
        self.module.eval()
        # Processes must agree on the number of passes: whoever has no batch left repeats one, uncounted.
        for first in range(0, len(self.held_out), processes):
            counted = first + own < len(self.held_out)
            batch = self.held_out[first + own if counted else first]
            loss = evaluated(self.module, batch.to(accelerator.device))
            if counted:
                parts = [loss.total, torch.tensor(float(batch.learnt)), *(loss.exits[k] for k in exits)]
                sums += torch.stack([part.detach().float().cpu() for part in parts])
        self.module.train()
        total, positions, *losses = accelerator.reduce(sums.to(accelerator.device)).tolist()
        return total / positions, {k: round(loss / positions, 4) for k, loss in zip(exits, losses, strict=True)}

    def save(self) -> None:
        """Saves a state to resume from; a kill in between leaves the one before."""
        target = self.config.run / STATE
        fresh_state = target.with_name(STATE + ".new")
        if self.accelerator.is_main_process:
            shutil.rmtree(fresh_state, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(fresh_state), safe_serialization=False)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (fresh_state / CONFIG).write_text(json.dumps(self.progress.state_dict()) + "\n")
            old = target.with_name(STATE + ".old")
            shutil.rmtree(old, ignore_errors=True)
            if target.exists():
                target.replace(old)
            fresh_state.replace(target)
            shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Takes up the last saved state, if there is one. Raises UserError where it belongs to another run."""
        states = [self.config.run / name for name in (STATE, STATE + ".old")]
        found = next((state for state in states if (state / CONFIG).exists()), None)
        if found is None:
            return
        saved = json.loads((found / CONFIG).read_text())
        if saved["fingerprint"] != self.progress.fingerprint:
            raise UserError(
                f"{self.config.run} holds a run of other options or data: give another --run, or delete that folder"
            )
        self.accelerator.load_state(str(found))
        self.accelerator.print(f"resumed at step {self.progress.step}")

    def write(self, folder: Path) -> None:
        """Writes the weights as a checkpoint."""
        whole_state = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(self.accelerator.unwrap_model(self.module), options=whole_state)
        if self.accelerator.is_main_process:
            whole = {name.replace("_orig_mod.", "").removeprefix("model."): t for name, t in state.items()}
            model = self.accelerator.unwrap_model(self.module).model
            save_checkpoint(model, folder, DTYPES[self.config.dtype], whole)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Puts the weights to keep in --out."""
        if self.config.keep == "last":
            self.write(self.config.out)
        elif self.accelerator.is_main_process:
            shutil.copytree(self.config.run / BEST, self.config.out, dirs_exist_ok=True)
        self.accelerator.wait_for_everyone()


@torch.no_grad()
def evaluated(module: torch.nn.Module, batch: Batch) -> Any:
    """The evaluation of one batch."""
    return module(batch)


def fingerprint(config: TrainConfig, rows: list[Encoded]) -> str:
    """What must be equal for a run to be resumed: the options that decide the weights, and the data."""
    free = {"out", "run", "save_every", "log_every", "keep", "dtype", "compile"}
    options = {key: str(value) for key, value in asdict(config).items() if key not in free}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for row in rows:
        digest.update(torch.tensor(row.ids).numpy().tobytes())
    return digest.hexdigest()
