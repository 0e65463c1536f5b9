"""Dynamic and speculative inference against plain greedy answers of stock transformers."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from conftest import EXITS

from sortie.inference.generate import dynamic, greedy, speculative
from sortie.nested import NestedModel, truncate
from sortie.objectives import objective_of, prepare

MOST = 24
END = 2


def prompts(count: int) -> list[list[int]]:
    rng = Random(0)
    return [[rng.randrange(3, 64) for _ in range(rng.randint(1, 12))] for _ in range(count)]


def stock_greedy(model: NestedModel, prompt: list[int], exit_layer: int) -> list[int]:
    """Recomputed from the start for every token."""
    lm = truncate(model, exit_layer).lm
    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) < len(prompt) + MOST:
            best = int(lm(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if best == END:
                break
            ids.append(best)
    return ids[len(prompt) :]


@pytest.mark.parametrize("exit_layer", EXITS)
def test_greedy_is_that_of_the_truncated_model(any_model: NestedModel, exit_layer: int) -> None:
    for prompt in prompts(10):
        made = greedy(any_model, prompt, exit_layer, MOST, END)
        assert made.ids == stock_greedy(any_model, prompt, exit_layer)
        assert set(made.exits) == {exit_layer}
        assert made.layers_per_token == exit_layer


def test_thresholds_of_zero_and_one_are_the_first_and_the_last_exit(any_model: NestedModel) -> None:
    for prompt in prompts(20):
        for threshold, exit_layer in ((0.0, EXITS[0]), (1.0, EXITS[-1])):
            made = dynamic(any_model, prompt, dict.fromkeys(EXITS, threshold), MOST, END)
            assert made.ids == stock_greedy(any_model, prompt, exit_layer)


def test_exits_with_a_layer_of_their_own_answer_like_their_views(model: NestedModel) -> None:
    torch.manual_seed(5)
    own = prepare(model, objective_of("soft+")).eval()
    for parameter in own.exit_heads.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    chosen: Counter[int] = Counter()
    usual = {k: usual_confidence(own, k) for k in EXITS}
    for prompt in prompts(12):
        for k in EXITS[:-1]:
            made = greedy(own, prompt, k, MOST, END)
            assert made.ids == stock_greedy(own, prompt, k)
            assert made.layers_per_token == k + 1
            drafted = speculative(own, prompt, k, 3, MOST, END)
            assert drafted.ids == greedy(own, prompt, EXITS[-1], MOST, END).ids
        made = dynamic(own, prompt, usual, MOST, END)
        chosen.update(made.exits)
        ids = [*prompt, *made.ids]
        for i, k in enumerate(made.exits):
            with torch.inference_mode():
                seen = torch.tensor([ids[: len(prompt) + i]])
                best = int(truncate(own, k).lm(seen, use_cache=False).logits[0, -1].argmax())
            assert best == ([*made.ids, END])[i]
    assert len(chosen) == len(EXITS)


def usual_confidence(model: NestedModel, exit_layer: int) -> float:
    """The median over next tokens of its own greedy answers: above it, half of them stop."""
    found = []
    for prompt in prompts(10):
        ids = torch.tensor([[*prompt, *stock_greedy(model, prompt, EXITS[0])]])
        with torch.inference_mode():
            hidden = model.exit_hidden(ids)[exit_layer][0, len(prompt) :]
            found += model.logits(hidden).softmax(-1).max(-1).values.tolist()
    return sorted(found)[len(found) // 2]


def test_a_prompt_filled_in_later_is_not_counted_with_the_answer(model: NestedModel) -> None:
    mixed = 0
    usual = {k: usual_confidence(model, k) for k in EXITS}
    for prompt in prompts(20):
        made = dynamic(model, prompt, usual, MOST, END)
        assert made.layers_per_token <= EXITS[-1]
        mixed += len(set(made.exits)) > 1
    assert mixed > 0


def test_filled_in_keys_and_values_are_those_of_the_full_model(model: NestedModel) -> None:
    """Whenever the deepest exit is asked, its choice is the full model's after the same ids."""
    asked: Counter[int] = Counter()
    usual = {k: usual_confidence(model, k) for k in EXITS}
    for prompt in prompts(40):
        made = dynamic(model, prompt, usual, MOST, END)
        asked.update(made.exits)
        ids = [*prompt, *made.ids]
        for i, exit_layer in enumerate(made.exits):
            if exit_layer == EXITS[-1]:
                with torch.inference_mode():
                    best = int(model.lm(torch.tensor([ids[: len(prompt) + i]])).logits[0, -1].argmax())
                assert best == ([*made.ids, END])[i]
    assert asked[EXITS[0]] > 50 < asked[EXITS[-1]], asked


@pytest.mark.parametrize("drafts", [1, 3, 8])
@pytest.mark.parametrize("draft_exit", EXITS[:-1])
def test_speculation_says_what_the_deepest_exit_says(any_model: NestedModel, draft_exit: int, drafts: int) -> None:
    accepted = 0
    for prompt in prompts(25):
        made = speculative(any_model, prompt, draft_exit, drafts, MOST, END)
        assert made.ids == greedy(any_model, prompt, EXITS[-1], MOST, END).ids
        assert made.accepted <= made.drafted
        accepted += made.accepted
    assert accepted > 0


def test_at_most_as_many_ids_as_asked(model: NestedModel) -> None:
    for most in (1, 2, 5):
        for prompt in prompts(5):
            assert len(greedy(model, prompt, 4, most, end=-1).ids) == most
            assert len(speculative(model, prompt, 1, 3, most, end=-1).ids) == most
