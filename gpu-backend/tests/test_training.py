"""The trainer: resuming, choosing, several processes, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from conftest import CONFIGS, SIZES, TINY
from safetensors.torch import load_file

from sortie.data.encode import open_tokenizer
from sortie.errors import UserError
from sortie.nested import open_checkpoint
from sortie.training.config import TrainConfig, config_of, from_options
from sortie.training.journal import read_log
from sortie.training.loop import Run, train
from sortie.training.optimizer import learning_rate
from sortie.training.setup import load_model
from sortie.world.generate import stream

STEPS = 9
BACKEND = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in islice(stream("train", 1), 80)))
    return file


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shape")
    type(CONFIGS["llama"])(**{**SIZES, "vocab_size": 4096}).save_pretrained(folder)
    return folder / "config.json"


def options(tmp_path: Path, rows: Path, shape: Path, name: str = "out", **changes: object) -> dict[str, object]:
    return {
        "fresh": shape,
        "tokenizer": TINY,
        "exits": "1,2,4",
        "data": rows,
        "out": tmp_path / name,
        "steps": STEPS,
        "batch": 2,
        "accumulate": 2,
        "lr": 1e-3,
        "save_every": 2,
        "eval_every": 3,
        "log_every": 1,
        "held_out_rows": 6,
        "dtype": "fp32",
        **changes,
    }


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


class Killed(Exception):
    """Stands for a kill."""


def test_a_run_that_was_cut_off_between_states_ends_like_one_that_was_not(
    tmp_path: Path, rows: Path, shape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"objective": "soft", "sample_exits": 1, "layer_dropout": 0.2, "optimizer": "muon", "keep": "last"}
    train(from_options(options(tmp_path, rows, shape, "whole", **common)))

    step = Run.step

    def dying(self: Run, rate: float) -> tuple[dict[int, float], int]:
        if self.progress.step == 5:  # one step after the state of step 4
            raise Killed
        return step(self, rate)

    cut = from_options(options(tmp_path, rows, shape, "cut", **common))
    monkeypatch.setattr(Run, "step", dying)
    with pytest.raises(Killed):
        train(cut)
    monkeypatch.setattr(Run, "step", step)
    result = train(cut)
    assert result.steps == STEPS
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    for kind in ("train", "held-out"):
        logs = [
            [(e["step"], e["loss"]) for e in read_log(tmp_path / f"{name}.run") if e["kind"] == kind]
            for name in ("whole", "cut")
        ]
        assert logs[0] == logs[1]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_ours_loses_nothing_at_full_depth(tmp_path: Path, rows: Path, shape: Path, optimizer: str) -> None:
    # A gradient this short makes clipping matter: the exits' own layers must not lengthen the network's.
    common = {"optimizer": optimizer, "gradient_norm": 0.05, "keep": "last"}
    for name in ("sft", "soft+"):
        train(from_options(options(tmp_path, rows, shape, name, objective=name, **common)))
    plain, ours = weights(tmp_path / "sft"), weights(tmp_path / "soft+")
    assert plain.keys() == ours.keys()
    for name, value in plain.items():
        assert torch.equal(value, ours[name]), name


def test_a_killed_process_is_resumed_bit_for_bit(tmp_path: Path, rows: Path, shape: Path) -> None:
    common = {"objective": "soft+", "steps": 24, "eval_every": 100, "log_every": 100, "keep": "last"}
    train(from_options(options(tmp_path, rows, shape, "whole", **common)))
    cut = options(tmp_path, rows, shape, "cut", **common)
    flags = [part for name, value in cut.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "sortie.training", *flags], cwd=BACKEND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    state = tmp_path / "cut.run" / "state" / "config.json"
    while not state.exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output.decode(errors="replace")
    assert not (tmp_path / "cut").exists()
    train(from_options(cut))
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def mlp_runs(config: TrainConfig) -> int:
    """How often a forward and backward pass run the first layer's feed-forward block."""
    model = load_model(config, "cpu").train()
    runs: list[None] = []
    model.lm.model.layers[0].mlp.register_forward_pre_hook(lambda *_: runs.append(None))
    model.exit_hidden(torch.randint(3, 64, (1, 9)))[model.depth].sum().backward()
    return len(runs)


def test_recomputed_layers_learn_the_same_and_bf16_nearly(tmp_path: Path, rows: Path, shape: Path) -> None:
    common = {"objective": "soft", "steps": 3, "keep": "last"}
    assert mlp_runs(from_options(options(tmp_path, rows, shape, **common))) == 1
    assert mlp_runs(from_options(options(tmp_path, rows, shape, checkpointing=True, **common))) == 2
    train(from_options(options(tmp_path, rows, shape, "plain", **common)))
    train(from_options(options(tmp_path, rows, shape, "recomputed", checkpointing=True, **common)))
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        train(from_options(options(tmp_path, rows, shape, "bf16", precision="bf16", **common)))
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    plain, recomputed, coarse = (weights(tmp_path / name) for name in ("plain", "recomputed", "bf16"))
    for name, value in plain.items():
        assert torch.allclose(value, recomputed[name], atol=1e-6), name
        assert coarse[name].dtype == torch.float32
        # Three steps of Adam move a weight by 3e-3 at most, whatever the gradient.
        assert torch.allclose(value, coarse[name], atol=6e-3), name
    assert any(not torch.equal(value, coarse[name]) for name, value in plain.items())


def test_a_run_learns_logs_and_draws(tmp_path: Path, rows: Path, shape: Path) -> None:
    config = from_options(options(tmp_path, rows, shape, steps=30, objective="soft", lr=3e-3))
    result = train(config)
    entries = read_log(config.run)
    first, last = entries[0]["loss"], entries[-1]["loss"]
    assert all(last[k] < 0.8 * first[k] for k in ("1", "2", "4"))
    with (config.run / "log.csv").open() as file:
        assert {"step", "exit_1", "exit_2", "exit_4"} <= set(next(csv.reader(file)))
    assert "<svg" in (config.run / "loss.svg").read_text()
    model = open_checkpoint(config.out)
    assert model.exits == (1, 2, 4)
    assert (config.out / "tokenizer.json").exists()
    best = min((e for e in entries if e["kind"] == "held-out"), key=lambda e: sum(e["loss"].values()))
    assert result.best_step == best["step"]


def test_a_teacher_named_on_the_command_line_teaches_and_is_not_saved(tmp_path: Path, rows: Path, shape: Path) -> None:
    teacher = tmp_path / "teacher"
    train(from_options(options(tmp_path, rows, shape, "teacher", objective="sft", steps=1)))
    before = weights(teacher)
    common = {"objective": "soft", "distill": 0.5, "steps": 2, "keep": "last"}
    train(from_options(options(tmp_path, rows, shape, "alone", **common)))
    train(from_options(options(tmp_path, rows, shape, "taught", teacher=teacher, **common)))
    alone, taught = weights(tmp_path / "alone"), weights(tmp_path / "taught")
    assert alone.keys() == taught.keys()
    assert any(not torch.equal(alone[name], taught[name]) for name in alone)
    assert all(torch.equal(before[name], value) for name, value in weights(teacher).items())


def test_a_given_chat_template_goes_with_the_checkpoint(tmp_path: Path, rows: Path, shape: Path) -> None:
    template = tmp_path / "given.jinja"
    template.write_text("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}")
    config = from_options(options(tmp_path, rows, shape, steps=1, length=512, chat_template=template))
    train(config)
    assert open_tokenizer(config.out).chat_template == template.read_text()


def test_accumulation_is_a_larger_batch(tmp_path: Path, rows: Path, shape: Path) -> None:
    """Every position counts the same however the rows fell on passes."""
    common = {"objective": "soft", "keep": "last", "optimizer": "adamw", "steps": 3}
    train(from_options(options(tmp_path, rows, shape, "one", batch=4, accumulate=1, **common)))
    train(from_options(options(tmp_path, rows, shape, "two", batch=2, accumulate=2, **common)))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=2e-5), name


def sharding() -> dict[str, str]:
    """The shipped FSDP configuration as the environment that `accelerate launch` makes of it."""
    configuration = yaml.safe_load((BACKEND / "launch" / "fsdp.yaml").read_text())["fsdp_config"]
    renamed = {"fsdp_transformer_layer_cls_to_wrap": "FSDP_TRANSFORMER_CLS_TO_WRAP"}
    environment = {renamed.get(key, key.upper()): str(value).lower() for key, value in configuration.items()}
    for key in ("fsdp_transformer_layer_cls_to_wrap", "fsdp_auto_wrap_policy", "fsdp_state_dict_type"):
        environment[renamed.get(key, key.upper())] = configuration[key]
    return {"ACCELERATE_USE_FSDP": "true", **environment}


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_train_one_model(tmp_path: Path, rows: Path, shape: Path, sharded: bool) -> None:
    """Under torchrun, replicated or sharded: as one process with twice the passes."""
    common = {"objective": "soft", "keep": "last", "steps": 3, "held_out_rows": 7}
    train(from_options(options(tmp_path, rows, shape, "one", **common, accumulate=2)))
    named = options(tmp_path, rows, shape, "two", **common, accumulate=1)
    flags = [part for key, value in named.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + ["-m", "sortie.training", *flags],
        cwd=BACKEND,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **(sharding() if sharded else {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [[e["loss"] for e in read_log(tmp_path / f"{n}.run") if e["kind"] == "held-out"] for n in ("one", "two")]
    assert losses[0] == losses[1]
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-4), name


def test_a_run_of_other_options_is_not_resumed(tmp_path: Path, rows: Path, shape: Path) -> None:
    train(from_options(options(tmp_path, rows, shape, steps=2)))
    with pytest.raises(UserError, match="other options or data"):
        train(from_options(options(tmp_path, rows, shape, steps=3)))


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, rows: Path, shape: Path) -> None:
    with pytest.raises(UserError, match="loss of exit .* lower --lr"):
        train(from_options(options(tmp_path, rows, shape, lr=1e30, gradient_norm=1e30, warm_up_share=0.01)))


def test_running_out_of_memory_says_what_to_lower(
    tmp_path: Path, rows: Path, shape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy_step(self: Run, rate: float) -> tuple[dict[int, float], int]:
        torch.empty(1 << 60)
        raise AssertionError("unreachable")

    monkeypatch.setattr(Run, "step", greedy_step)
    with pytest.raises(UserError, match="lower --batch"):
        train(from_options(options(tmp_path, rows, shape)))


def test_the_learning_rate_warms_up_and_ends_near_nothing(tmp_path: Path, rows: Path, shape: Path) -> None:
    config = from_options(options(tmp_path, rows, shape, lr=1.0, warm_up_share=0.1))
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.03
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_options_come_from_a_file_and_the_command_line_overrides_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'model = "m"\nout = "o"\ndata = ["a.jsonl", "b.jsonl"]\nexits = [2, 4]\nlr = 0.5\nobjective = "soft"\n'
    )
    config = config_of(["--config", str(file), "--lr", "0.25"])
    assert (config.lr, config.exits, len(config.data), config.objective.name) == (0.25, (2, 4), 2, "soft")
    file.write_text("learning-rate = 1")
    with pytest.raises(UserError, match="unknown option learning_rate"):
        config_of(["--config", str(file)])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", "o", "--data", "d"], "--model"),
        (["--out", "o", "--model", "m"], "--data"),
        (["--model", "m", "--data", "d"], "--out"),
        (["--out", "o", "--fresh", "c", "--data", "d"], "--tokenizer"),
        (["--out", "o", "--model", "m", "--data", "d", "--batch", "0"], "--batch"),
    ],
)
def test_what_is_missing_is_named(flags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_of(flags)
