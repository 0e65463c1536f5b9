"""Ways to answer compared, token by token on one sequence at a time: fixed exits, dynamic inference, speculation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from ..data.encode import Encoder
from ..inference.generate import Generation, dynamic, greedy, speculative
from ..nested import NestedModel
from .items import Item

MOST_ANSWER_TOKENS = 64
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
DRAFTS = (2, 4, 6)
# Rounds over all methods for each prompt; each keeps its fastest, since a shared machine only ever makes it slower.
ROUNDS = 2

Method = Callable[[list[int]], Generation]


def methods_of(model: NestedModel, end: int) -> dict[str, Method]:
    """Every method by its name; the last fixed exit is the baseline of speed."""

    def fixed(k: int) -> Method:
        return lambda prompt: greedy(model, prompt, k, MOST_ANSWER_TOKENS, end)

    def by_confidence(threshold: float) -> Method:
        thresholds = dict.fromkeys(model.exits, threshold)
        return lambda prompt: dynamic(model, prompt, thresholds, MOST_ANSWER_TOKENS, end)

    def drafted(k: int, drafts: int) -> Method:
        return lambda prompt: speculative(model, prompt, k, drafts, MOST_ANSWER_TOKENS, end)

    found = {f"exit {k}": fixed(k) for k in model.exits}
    found |= {f"dynamic > {threshold}": by_confidence(threshold) for threshold in THRESHOLDS}
    found |= {f"draft by exit {k}, {n} at a time": drafted(k, n) for k in model.exits[:-1] for n in DRAFTS}
    return found


def compare(
    model: NestedModel, encoder: Encoder, items: list[Item], clock: Callable[[], float] = time.perf_counter
) -> list[dict[str, Any]]:
    """Exact match, mean layers per token and speed of every method on the same items.

    `tokens_per_s` counts ids chosen, the end token too, the prompt's time included; `speed` is relative to the deepest
    exit. clock: seconds; processor time where one thread computes on a machine with other work.
    """
    model.eval()
    prompts = [encoder.prompt(item.messages) for item in items]
    methods = methods_of(model, encoder.eos)
    seconds = dict.fromkeys(methods, 0.0)
    made: dict[str, list[Generation]] = {name: [] for name in methods}
    # Prompt by prompt, so that all methods see the machine in the same state.
    for prompt in tqdm(prompts, desc="methods"):
        fastest = dict.fromkeys(methods, float("inf"))
        for number in range(ROUNDS):
            for name, method in methods.items():
                started = clock()
                generation = method(prompt)
                fastest[name] = min(fastest[name], clock() - started)
                if number == 0:
                    made[name].append(generation)
        for name, least in fastest.items():
            seconds[name] += least
    baseline = f"exit {model.exits[-1]}"
    rows = []
    for name, generations in made.items():
        tokens = sum(len(g.exits) for g in generations)
        drafted = sum(g.drafted for g in generations)
        right = [item.right(encoder.tokenizer.decode(g.ids)) for item, g in zip(items, generations, strict=True)]
        rate = tokens / seconds[name]
        base_rate = sum(len(g.exits) for g in made[baseline]) / seconds[baseline]
        rows.append(
            {
                "method": name,
                "exact_match": round(sum(right) / len(right), 4),
                "layers_per_token": round(sum(g.layer_runs for g in generations) / tokens, 3),
                "tokens_per_s": round(rate, 1),
                "speed": round(rate / base_rate, 3),
                "accepted": round(sum(g.accepted for g in generations) / drafted, 3) if drafted else None,
            }
        )
    return rows
