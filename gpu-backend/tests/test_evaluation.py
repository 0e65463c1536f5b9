"""Metrics, intervals, and batched answers against one at a time."""

from __future__ import annotations

import json
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from conftest import EXITS, SIZES, TINY
from transformers import LlamaConfig

from sortie.data.encode import Encoder
from sortie.evaluation.answers import greedy_answers
from sortie.evaluation.bootstrap import paired_bootstrap
from sortie.evaluation.cli import main
from sortie.evaluation.items import Item, read_items
from sortie.evaluation.methods import MOST_ANSWER_TOKENS, compare
from sortie.evaluation.metrics import exact_match, f1, normalise
from sortie.inference.generate import greedy, speculative
from sortie.nested import fresh, open_checkpoint


def test_normalising_is_squads() -> None:
    assert normalise("The  Quick, brown fox!") == "quick brown fox"
    assert exact_match("a cat.", ["dog", "Cat"])
    assert f1("the cat sat", ["cat sat down"]) == pytest.approx(0.8)
    assert f1("", ["cat"]) == 0


def test_an_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(40):
        ours = rng.random(400) < 0.6
        theirs = rng.random(400) < 0.5
        interval = paired_bootstrap(ours, theirs, seed=i)
        inside += interval.low <= 0.1 <= interval.high
    assert inside >= 34


def test_scores_of_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match="different items"):
        paired_bootstrap(np.zeros(3), np.zeros(4))


@pytest.fixture(scope="module")
def tiny():
    return open_checkpoint(TINY).eval()


def test_batched_answers_are_those_given_one_at_a_time(tiny, encoder: Encoder) -> None:
    items = read_items(TINY / "test.jsonl")[::150]
    for k in tiny.exits:
        single = [
            encoder.tokenizer.decode(greedy(tiny, encoder.prompt(i.messages), k, 64, encoder.eos).ids) for i in items
        ]
        batched = greedy_answers(tiny, encoder, items, k)
        assert sum(a != b for a, b in zip(single, batched, strict=True)) <= 1  # near-ties of rounding


def test_speculation_equals_greedy_on_500_prompts_of_the_committed_model(tiny, encoder: Encoder) -> None:
    items = list(islice(read_items(TINY / "test.jsonl"), 0, 2500, 5))
    assert len(items) == 500
    for i, item in enumerate(items):
        prompt = encoder.prompt(item.messages)
        drafted = speculative(tiny, prompt, tiny.exits[i % 3], 4, 64, encoder.eos)
        assert drafted.ids == greedy(tiny, prompt, tiny.exits[-1], 64, encoder.eos).ids


def test_the_committed_figures_are_what_the_checkpoint_does(tiny, encoder: Encoder) -> None:
    """A sample of the test rows, answered again: right within three standard errors of eval.json's figure."""
    committed = json.loads((TINY / "eval.json").read_text())["splits"]["test_seen"]["all"]
    items = [item for item in read_items(TINY / "test.jsonl") if item.split == "test_seen"][::7]
    for exit_layer in tiny.exits:
        answers = greedy_answers(tiny, encoder, items, exit_layer)
        right = sum(item.right(answer) for item, answer in zip(items, answers, strict=True)) / len(items)
        p = committed[str(exit_layer)]["exact_match"]
        assert abs(right - p) < 3 * max(p * (1 - p) / len(items), 0.0004) ** 0.5 + 0.01, exit_layer


def test_the_command_line_writes_figures_table_and_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "eval.json", tmp_path / "depth.svg"
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join((TINY / "test.jsonl").read_text().split("\n")[:6]))
    flags = ["--rows", str(rows), "--methods", "2", "--out", str(out), "--plot", str(plot)]
    monkeypatch.setattr("sys.argv", ["sortie-eval", "--checkpoint", str(TINY), *flags])
    main()
    written = json.loads(out.read_text())
    (split,) = written["splits"].values()
    assert set(split["all"]) == {"3", "6", "9", "12"}
    assert all(0 <= cell["f1"] <= 1 and cell["nll"] > 0 and cell["n"] == 6 for cell in split["all"].values())
    assert {"exit 12", "dynamic > 0.5", "draft by exit 3, 2 at a time"} <= {m["method"] for m in written["methods"]}
    assert "| all | 6 |" in capsys.readouterr().out
    assert "<svg" in plot.read_text()


def test_ways_to_answer_are_timed_by_the_clock_that_is_given(encoder: Encoder) -> None:
    model = fresh(LlamaConfig(**{**SIZES, "vocab_size": 4096}), EXITS, seed=0)
    item = Item([{"role": "user", "content": "Hello"}], "x", "all rows", 1, "test", None)
    ticks = count()
    rows = {row["method"]: row for row in compare(model, encoder, [item], clock=lambda: float(next(ticks)))}
    # One tick whatever the method: tokens a second are the tokens chosen.
    deepest = rows["exit 4"]
    made = greedy(model, encoder.prompt(item.messages), 4, MOST_ANSWER_TOKENS, encoder.eos)
    assert deepest["tokens_per_s"] == len(made.exits)
    assert deepest["speed"] == 1
    assert deepest["layers_per_token"] == 4
    assert rows["exit 1"]["layers_per_token"] == 1
    drafted = rows["draft by exit 2, 4 at a time"]
    assert drafted["tokens_per_s"] == deepest["tokens_per_s"]
    assert 0 <= drafted["accepted"] <= 1
