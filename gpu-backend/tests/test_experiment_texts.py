"""Rows made from published texts, and the queues built on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sortie.errors import UserError
from sortie.experiments.arms import arm_names
from sortie.experiments.pretrained import pretrained_jobs
from sortie.experiments.queue import Job
from sortie.experiments.text import text_jobs
from sortie.experiments.texts import alpaca, pieces, stories, wikidata
from sortie.experiments.tuning import tuning_jobs
from sortie.experiments.world import SEEDS, world_jobs


def test_pieces_are_whole_sentences_in_order_within_their_length() -> None:
    story = "One cat sat. It was happy!\nThen a dog came. " + "x" * 40 + ". The end."
    assert list(pieces(story, 30)) == ["One cat sat. It was happy!", "Then a dog came.", "The end."]


def test_stories_end_at_the_separator_or_at_lines() -> None:
    assert [row["text"] for row in stories("A one.\nA two.<|endoftext|>B.", 50)] == ["A one. A two.", "B."]
    assert [row["text"] for row in stories("A one.\n\nB.", 50)] == ["A one.", "B."]


def test_long_and_empty_alpaca_rows_are_left_out() -> None:
    short = {"instruction": "Say hi", "input": "", "output": "hi"}
    rows = [short, {**short, "output": " "}, {**short, "input": "x" * 300}]
    assert alpaca(rows) == [short]


def test_scored_facts_were_taught_in_the_other_phrasing_alone() -> None:
    facts = [{"context": f"The color of thing {n} is", "continuation": f"c{n}"} for n in range(5)]
    unusable = {"context": "Jinan is capital of", "continuation": "Shandong"}
    train, scored = wikidata([unusable, *facts], 2)
    asked = [row["messages"][0]["content"] for row in train]
    assert [row["messages"][0]["content"] for row in scored] == [
        "What is the color of thing 2?",
        "What is the color of thing 3?",
    ]
    assert "The color of thing 2 is" in asked
    assert "What is the color of thing 0?" in asked
    assert not {row["messages"][0]["content"] for row in scored} & set(asked)
    with pytest.raises(UserError, match="6 facts are needed"):
        wikidata(facts, 3)


def queues(runs: Path) -> dict[str, list[Job]]:
    return {
        "world": world_jobs(runs, Path("tokenizer"), 1.0),
        "tuning": tuning_jobs(runs, Path("tokenizer"), 1.0),
        "text": text_jobs(runs, Path("data"), Path("tokenizer"), 1.0),
        "pretrained": pretrained_jobs(runs, Path("data"), Path("checkpoints"), 1.0),
    }


def test_every_job_has_a_name_of_its_own_and_reads_what_an_earlier_job_writes(tmp_path: Path) -> None:
    for jobs in queues(tmp_path).values():
        assert len({job.name for job in jobs}) == len(jobs)
        written = {str(tmp_path / "shape" / "config.json")}
        for job in jobs:
            values = [value.split("=", 1)[-1] for value in job.arguments]
            targets = {
                job.arguments[i + 1]
                for i, flag in enumerate(job.arguments[:-1])
                if flag in ("--out", "--train", "--scored", "--run") and job.module != "sortie.experiments.score"
            }
            read = {value for value in values if value.startswith(str(tmp_path))} - targets
            if job.module == "sortie.experiments.score":
                read = {value for value in read if not value.endswith("-scores")}
            assert read <= written, job.name
            written |= targets


def test_every_objective_is_trained_with_every_seed_from_one_base(tmp_path: Path) -> None:
    jobs = {job.name: job.arguments for job in world_jobs(tmp_path, Path("tokenizer"), 1.0)}
    for seed in SEEDS:
        for name in arm_names((2, 4, 6)):
            arguments = jobs[f"seed{seed}-{name}"]
            base = "base" if name != "sft+ict" else f"seed{seed}-sft"
            assert arguments[arguments.index("--model") + 1] == str(tmp_path / base / "model")
            assert arguments[arguments.index("--seed") + 1] == str(seed)
    assert {"seed1-extracted-2", "seed1-extracted-4", "seed3-soft+"} <= set(jobs)
    double = {job.name: job.arguments for job in world_jobs(tmp_path, Path("tokenizer"), 2.0)}
    steps = [
        dict(zip(found, found[1:], strict=False))["--steps"] for found in (jobs["seed1-soft"], double["seed1-soft"])
    ]
    assert int(steps[1]) == 2 * int(steps[0])
