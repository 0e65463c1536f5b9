"""Scores and what is made of them: a teacher-forced match is a generated one; differences are paired and signed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sortie.data.encode import Encoded
from sortie.evaluation.answers import until
from sortie.experiments.report import arms_table, comparisons, costs_table, differences_table, gather
from sortie.experiments.results import collect, differences, summary
from sortie.experiments.score import Scores, last_answer, load, score
from sortie.inference.generate import greedy
from sortie.nested import NestedModel

END = 2


def scores(right: list[list[bool]], exits: list[int] | None = None) -> Scores:
    """nll of 1 nat a token where right, 3 where wrong; two tokens an answer."""
    kept = np.array(right)
    nll = np.where(kept, 2.0, 6.0)
    return Scores(exits or [1, 2], kept, nll, np.full(kept.shape[1], 2), np.arange(kept.shape[1]))


def folder(path: Path, **arms: Scores) -> Path:
    path.mkdir(parents=True)
    for name, found in arms.items():
        found.save(path / f"{name.replace('_', '-')}.npz")
    return path


def test_a_row_is_right_exactly_where_greedy_decoding_writes_its_answer(model: NestedModel) -> None:
    rng = torch.Generator().manual_seed(5)
    prompts = [torch.randint(3, 64, (size,), generator=rng).tolist() for size in (3, 9, 5, 7)]
    rows = []
    for number, prompt in enumerate(prompts):
        answer = [*greedy(model, prompt, 2, 4, END).ids, END]
        if number % 2:
            answer[1] = (answer[1] + 1) % 64  # no longer what exit 2 writes
        rows.append(Encoded([*prompt, *answer], [False] * len(prompt) + [True] * len(answer)))
    # An earlier turn that no exit would write does not count.
    rows[0].learnt[1] = True
    right, nll = score(model, rows, pad=0)
    for i, row in enumerate(rows):
        start = len(prompts[i])
        for e, k in enumerate(model.exits):
            wanted = row.ids[start:]
            made = greedy(model, row.ids[:start], k, len(wanted), END).ids
            stopped = len(made) == len(wanted) - 1
            assert bool(right[e, i]) == (stopped and until(made, END) == wanted[:-1])
    ids = torch.tensor([rows[1].ids])
    logits = model.logits(model.exit_hidden(ids)[4], 4).log_softmax(-1)
    start = len(prompts[1])
    expected = -sum(logits[0, at - 1, ids[0, at]].item() for at in range(start, ids.shape[1]))
    assert nll[-1, 1].item() == pytest.approx(expected, rel=1e-4)


def test_the_last_answer_alone_is_predicted() -> None:
    row = Encoded([1, 5, 6, 7, 8, 9], [False, True, False, True, True, False])
    assert last_answer(row).learnt == [False, False, False, True, True, False]


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores([[True, False], [True, True]]).save(tmp_path / "sft.npz")
    read = load(tmp_path / "sft.npz")
    assert read.exits == [1, 2]
    assert read.right.tolist() == [[True, False], [True, True]]


def test_extracted_networks_are_one_arm_whose_deepest_exit_is_sft(tmp_path: Path) -> None:
    path = folder(
        tmp_path / "a", sft=scores([[False] * 4, [True] * 4]), extracted_1=scores([[True, True, True, False]], [1])
    )
    cells = collect([path])
    assert set(cells["extracted"]) == {1, 2}
    assert cells["extracted"][1].exact_match.mean() == 75
    assert cells["extracted"][2] is cells["sft"][2]


def test_aims_are_met_where_the_whole_interval_is(tmp_path: Path) -> None:
    rows = 400
    most = np.arange(rows) % 10 > 0
    path = folder(
        tmp_path / "a",
        sft=scores([[False] * rows, most.tolist()]),
        extracted_1=scores([most.tolist()], [1]),
        # as good as Extracted at exit 1, ten points below SFT at full depth
        soft=scores([most.tolist(), (np.arange(rows) % 5 > 0).tolist()]),
    )
    found = {(d["theirs"], d["exit"]): d for d in differences(collect([path])) if d["metric"] == "exact_match"}
    assert set(found) == {("extracted", 1), ("sft", 2)}
    assert found["extracted", 1]["mean"] == 0
    assert found["extracted", 1]["met"]
    assert found["sft", 2]["mean"] == pytest.approx(-10)
    assert found["sft", 2]["low"] < -10 < found["sft", 2]["high"] < 0
    assert not found["sft", 2]["met"]


def test_an_exit_with_a_layer_of_its_own_is_held_to_a_network_as_deep(tmp_path: Path) -> None:
    right, half = [True] * 8, [True, False] * 4
    path = folder(
        tmp_path / "a",
        sft=scores([half, right], [1, 3]),
        extracted_1=scores([half], [1]),
        extracted_2=scores([right], [2]),
        **{"soft+": scores([right, right], [1, 3]), "soft": scores([half, right], [1, 3])},
    )
    found = {(d["ours"], d["theirs"], d["exit"]): d for d in differences(collect([path])) if d["metric"] == "nll"}
    assert found["soft+", "extracted-2", 1]["mean"] == 0
    assert "met" not in found["soft+", "extracted-2", 1]
    assert ("soft", "extracted-2", 1) not in found


def test_scores_of_different_rows_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", sft=scores([[True], [True]]), soft=scores([[True, True], [True, True]]))
    with pytest.raises(ValueError, match="different rows"):
        collect([path])


def test_seeds_are_averaged_and_tables_show_them(tmp_path: Path) -> None:
    arms = {"sft": scores([[False, False], [True, True]]), "soft": scores([[True, True], [True, False]])}
    other = {"sft": scores([[False, False], [True, False]]), "soft": scores([[True, True], [True, False]])}
    folder(tmp_path / "seed1-scores", **arms)
    folder(tmp_path / "seed2-scores", **other)
    folder(tmp_path / "seed3-scores", sft=arms["sft"])
    for seed in (1, 2):
        (tmp_path / f"seed{seed}-scores" / "done.json").write_text("{}")
    found = comparisons(tmp_path)
    assert [path.name for path in found["seeds"]] == ["seed1-scores", "seed2-scores"]
    comparison = summary(found["seeds"])
    assert comparison["seeds"] == 2
    assert comparison["arms"]["sft"]["2"]["seeds"] == [100, 50]
    assert "| sft | 0.0 | 75.0 |" in arms_table(comparison, "exact_match")
    assert "| sft | 3.000 | 1.500 |" in arms_table(comparison, "nll")
    assert "| soft − sft | 2 | -25.00 |" in differences_table(comparison, "exact_match")
    assert json.loads(json.dumps(gather(tmp_path)))["comparisons"]["seeds"]["rows"] == 2


def test_costs_are_shown_as_ratios_to_sft() -> None:
    one = {"step_cpu_seconds": 2.0, "step_mib": 100.0}
    table = costs_table({"sft": one, "soft": {"step_cpu_seconds": 3.0, "step_mib": 125.0}})
    assert table.splitlines()[-1] == "| soft | 3.000 | 1.50 | 125 | 1.25 |"
