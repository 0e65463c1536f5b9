"""Drills: what is learnt fast where every second token asks for it, and late or never from chats alone.

Whoever has read `D T, K M.` can tell what follows `K` the second time. Language models learn that in one sudden step,
and late where it stands only in long prompts with one answer each; on short drills, every second half of which is a
lookup, they learn it within a few hundred steps. Walks of several hops are learnt the same way once lookups are there:
many questions about one map, two hops before five. Dates, too, want the next day before the tenth. What is learnt by
heart is forgotten while a drill of something else is read, so it has a drill of its own to stand beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Any

from .facts import fact
from .families.numbers import NUMBER_WORDS, day, month, one_step
from .families.structures import LETTERS, LIST_WORDS, letter_map, list_item
from .families.text import small_talk
from .generate import allowed, question, split_of
from .item import Item
from .phrasing import DRILL_PHRASINGS, PHRASINGS

LEAST_PAIRS = 2
MOST_PAIRS = 8
# Questions about one map: a row stays below 128 tokens.
LEAST_QUESTIONS, MOST_QUESTIONS = 4, 8
MOST_HOPS = 5
# What a recall quiz asks for: share, maker.
RECALLED: tuple[tuple[int, Callable[[Random], Item]], ...] = (
    (10, fact),
    (6, one_step),
    (2, list_item),
    (1, small_talk),
)
MOST_RECALL_CHARACTERS = 260
# Share of a recall quiz's questions that are put in words no chat has, where there are such words.
OTHER_WORDS_SHARE = 0.3
SHORT_QUESTIONS = ("{steps} from {start}?", "Where do {steps} from {start} lead?", "Go {steps} from {start}.")


def _letters(rng: Random, size: int) -> list[str]:
    return [f"{a} {b}" for a, b in zip(rng.sample(LETTERS, size), rng.choices(LETTERS, k=size), strict=True)]


def _map(rng: Random, size: int) -> list[str]:
    letters = rng.sample(LETTERS, size)
    return [f"{a} points to {rng.choice([b for b in letters if b != a])}" for a in letters]


def _words(rng: Random, size: int) -> list[str]:
    return [f"{a} {b}" for a, b in zip(rng.sample(LIST_WORDS, size), rng.sample(LIST_WORDS, size), strict=True)]


def _prices(rng: Random, size: int) -> list[str]:
    return [f"{a} {b}" for a, b in zip(rng.sample(LIST_WORDS, size), rng.sample(range(1, 100), size), strict=True)]


PAIRS: tuple[Callable[[Random, int], list[str]], ...] = (_letters, _map, _words, _prices)


def drill(rng: Random, most: int) -> str:
    """Two to `most` pairs, said two to four times, each time in an order of its own."""
    pairs = rng.choice(PAIRS)(rng, rng.randint(LEAST_PAIRS, most))
    return ". ".join(", ".join(rng.sample(pairs, len(pairs))) for _ in range(rng.randint(2, 4)))


def drills(seed: int, most: int = MOST_PAIRS) -> Iterator[dict[str, Any]]:
    """Endless texts of drills of up to `most` pairs; row i depends on (seed, most, i) alone."""
    for index in count():
        yield {"text": drill(Random(f"{seed}:drill:{most}:{index}"), most)}


def hop_quiz(rng: Random, most: int) -> list[dict[str, str]]:
    """A map of letters and several questions of one to `most` hops about it, as one chat.

    Half of the questions are of `most` hops. Walks that stand in another split are not asked for.
    """
    messages: list[dict[str, str]] = []
    while not messages:
        path, key, listed = letter_map(rng, most)
        follows = dict(zip(path, [*path[1:], key[-1]], strict=True))
        for _ in range(rng.randint(LEAST_QUESTIONS, MOST_QUESTIONS)):
            hops = most if rng.random() < 0.5 else rng.randint(1, most)
            start = letter = rng.choice(path)
            if start == path[0] and split_of(f"chain:{key}:{hops}") != "train":
                continue
            for _ in range(hops):
                letter = follows[letter]
            steps = f"{NUMBER_WORDS[hops]} step" + ("" if hops == 1 else "s")
            asked = rng.choice(SHORT_QUESTIONS).format(steps=steps, start=start)
            asked = asked[0].upper() + asked[1:]
            messages.append({"role": "user", "content": asked if messages else f"{listed}. {asked}"})
            messages.append({"role": "assistant", "content": letter})
    return messages


def hop_quizzes(seed: int, most: int = MOST_HOPS, least: int = 2) -> Iterator[dict[str, Any]]:
    """Endless quizzes of `least` to `most` hops at most; row i depends on (seed, most, least, i) alone."""
    for index in count():
        rng = Random(f"{seed}:hops:{most}:{index}")
        yield {"messages": hop_quiz(rng, rng.randint(least, most))}


def date_quiz(rng: Random, hardest: int) -> list[dict[str, str]]:
    """Several questions for days and months of up to a difficulty, as one chat; only what may stand in training."""
    messages: list[dict[str, str]] = []
    maker = rng.choice((day, month))
    while len(messages) < 2 * MOST_QUESTIONS:
        item = maker(rng)
        phrasing = rng.randrange(len(PHRASINGS[item.topic][0]))
        if item.difficulty <= hardest and allowed(item, phrasing, True, "train"):
            asked = question(rng, item, phrasing, seen=True, plain=True)
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": item.answer}]
    return messages


def date_quizzes(seed: int, hardest: int) -> Iterator[dict[str, Any]]:
    """Endless quizzes of dates; row i depends on (seed, hardest, i) alone."""
    for index in count():
        yield {"messages": date_quiz(Random(f"{seed}:dates:{hardest}:{index}"), hardest)}


def recall_question(rng: Random) -> tuple[str, str]:
    """A question and its answer: something learnt by heart, or a short list, that may stand in training."""
    weights = [share for share, _ in RECALLED]
    while True:
        (_, maker), *_ = rng.choices(RECALLED, weights)
        item = maker(rng)
        others = DRILL_PHRASINGS.get(item.topic, ())
        if others and rng.random() < OTHER_WORDS_SHARE:
            if item.fixed or split_of(item.key) == "train":
                return rng.choice(others).format(**item.slots), item.answer
            continue
        phrasing = rng.randrange(len(PHRASINGS[item.topic][0]))
        if allowed(item, phrasing, True, "train"):
            return question(rng, item, phrasing, seen=True), item.answer


def recall_quiz(rng: Random) -> list[dict[str, str]]:
    """Several short questions as one chat."""
    messages: list[dict[str, str]] = []
    while sum(len(message["content"]) for message in messages) < MOST_RECALL_CHARACTERS:
        asked, answer = recall_question(rng)
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return messages


def recall_quizzes(seed: int) -> Iterator[dict[str, Any]]:
    """Endless recall quizzes; row i depends on (seed, i) alone."""
    for index in count():
        yield {"messages": recall_quiz(Random(f"{seed}:recall:{index}"))}
