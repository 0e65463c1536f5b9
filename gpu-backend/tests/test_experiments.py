"""A queue of jobs: done once, stopped by a failure, taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sortie.errors import UserError
from sortie.experiments.queue import DONE, Job, run_queue
from sortie.experiments.tiny import tiny_jobs
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
    assert str(tmp_path / "base") in further["drill-walks"]
    assert not {"tokenizer", "drill-pairs", "first-chats"} & set(further)
    for arguments in (jobs["long-chats"], further["long-chats"]):
        assert str(tmp_path / "out") in arguments
        config_of(list(arguments))
