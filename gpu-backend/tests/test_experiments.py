"""A queue of jobs: done once, stopped by a failure, taken up again."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from sortie.errors import UserError
from sortie.experiments.average import average
from sortie.experiments.queue import DONE, Job, run_queue
from sortie.experiments.tiny import SHAPE, tiny_jobs
from sortie.nested import fresh
from sortie.training.config import config_of


def world(name: str, file: Path, *arguments: str) -> Job:
    return Job(name, "sortie.world.cli", ("--n", "3", "--out", str(file), *arguments))


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    jobs = [world("rows", file)]
    run_queue(jobs, tmp_path / "runs")
    assert len(file.read_text().splitlines()) == 3
    record = json.loads((tmp_path / "runs" / "rows" / DONE).read_text())
    assert record["seconds"] > 0
    assert record["peak_mib"] > 5
    file.unlink()
    run_queue(jobs, tmp_path / "runs")
    assert not file.exists()


def test_a_failure_stops_the_queue_and_says_why_and_a_later_run_goes_on(tmp_path: Path) -> None:
    first, last = tmp_path / "first.jsonl", tmp_path / "last.jsonl"
    runs = tmp_path / "runs"
    with pytest.raises(UserError, match=r"broken failed \(1\)(.|\n)*unknown split 'best'"):
        run_queue([world("first", first), world("broken", last, "--split", "best"), world("last", last)], runs)
    assert first.exists()
    assert not last.exists()
    run_queue([world("first", first), world("broken", last), world("last", last)], runs)
    assert last.exists()


def test_the_recipe_of_tiny_goes_from_stage_to_stage(tmp_path: Path) -> None:
    jobs = {job.name: job.arguments for job in tiny_jobs(tmp_path / "runs", tmp_path / "out")}
    further = {job.name: job.arguments for job in tiny_jobs(tmp_path / "runs", tmp_path / "out", tmp_path / "base")}
    assert "--fresh" in jobs["drill-pairs"]
    assert str(tmp_path / "runs" / "first-chats" / "model") in jobs["drill-walks"]
    assert str(tmp_path / "base") in further["drill-four-hops"]
    assert not {"tokenizer", "drill-pairs", "first-chats", "long-chats"} & set(further)
    assert str(tmp_path / "runs" / "long-chats" / "model") in jobs["average-settling"]
    assert str(tmp_path / "base") in further["average-settling"]
    for queue in (jobs, further):
        assert str(tmp_path / "runs" / "average-settling" / "model") in queue["settling"]
        config_of(list(queue["settling"]))
        assert {str(tmp_path / "runs" / "settling" / "model"), str(tmp_path / "out")} <= set(queue["average"])


def test_an_average_lies_between_two_checkpoints_of_one_shape() -> None:
    shape = copy.deepcopy(SHAPE)
    shape.num_hidden_layers = 2
    later, earlier = fresh(shape, (1, 2), 1), fresh(shape, (1, 2), 2)
    before = {name: parameter.detach().clone() for name, parameter in later.named_parameters()}
    mean = dict(average(later, earlier, 0.25).named_parameters())
    for name, other in earlier.named_parameters():
        torch.testing.assert_close(mean[name], 0.75 * before[name] + 0.25 * other)
    shape.num_hidden_layers = 1
    with pytest.raises(UserError, match="other shapes"):
        average(later, fresh(shape, (1,), 1), 0.5)
