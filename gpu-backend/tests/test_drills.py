"""Drills: what they ask is answered right, and none of it belongs to another split."""

from __future__ import annotations

import re
from itertools import islice

from sortie.world.drills import date_quizzes, hop_quizzes
from sortie.world.families.numbers import DAYS, MONTHS, NUMBER_WORDS
from sortie.world.generate import stream

ROWS = 300


def turns(row: dict) -> list[tuple[str, str]]:
    """(question, answer) of a chat."""
    said = [message["content"] for message in row["messages"]]
    return list(zip(said[::2], said[1::2], strict=True))


def walked(follows: dict[str, str], question: str) -> tuple[str, str]:
    """Start and end of the walk a question asks for."""
    hops, start = re.search(r"(\w+) steps? from (\w)", question).groups()
    letter = start
    for _ in range(NUMBER_WORDS.index(hops.lower())):
        letter = follows[letter]
    return start, letter


def test_walks_are_what_the_map_gives() -> None:
    for row in islice(hop_quizzes(1, 5), ROWS):
        follows = dict(re.findall(r"(\w) points to (\w)", row["messages"][0]["content"]))
        for question, answer in turns(row):
            assert walked(follows, question)[1] == answer


def test_dates_are_what_counting_gives() -> None:
    for row in islice(date_quizzes(1, 3), ROWS):
        for question, answer in turns(row):
            found = re.search(r"(\w+) (day|month)s? (after|before) (\w+)", question)
            number, unit, direction, start = found.groups()
            n = NUMBER_WORDS.index(number.lower()) if number.lower() in NUMBER_WORDS else int(number)
            names = DAYS if unit == "day" else MONTHS
            assert names[(names.index(start) + (n if direction == "after" else -n)) % len(names)] == answer


def test_easy_dates_stay_easy() -> None:
    numbers = {
        word.lower()
        for row in islice(date_quizzes(1, 1), ROWS)
        for question, _ in turns(row)
        for word in re.findall(r"(\w+) (?:day|month)s? (?:after|before)", question)
    }
    assert numbers == {"1", "2", "one", "two"}


def test_what_other_splits_ask_is_not_drilled() -> None:
    """A walk from a map's first letter is a chain; every question of a date is one of the training split's."""
    asked = {question for row in islice(date_quizzes(1, 3), ROWS) for question, _ in turns(row)}
    held = {
        row["messages"][-2]["content"]
        for split in ("validation", "test_seen", "test_unseen")
        for row in islice(stream(split, 1), 4000)
        if row["family"] == "dates"
    }
    assert len(held) > 100
    assert not asked & held
