"""Drills: what they ask is answered right, and none of it belongs to another split."""

from __future__ import annotations

import re
from functools import cache
from itertools import islice

from sortie.world.drills import date_quizzes, hop_quizzes, recall_quizzes
from sortie.world.facts import facts
from sortie.world.families.numbers import DAYS, MONTHS, NUMBER_WORDS
from sortie.world.generate import split_of, stream
from sortie.world.phrasing import DRILL_PHRASINGS, PHRASINGS

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


def test_walks_of_one_length_ask_for_it_every_second_time() -> None:
    asked = [question for row in islice(hop_quizzes(1, 4, least=4), ROWS) for question, _ in turns(row)]
    hops = [NUMBER_WORDS.index(re.search(r"(\w+) steps? from", question).group(1).lower()) for question in asked]
    assert max(hops) == 4
    assert hops.count(4) > len(hops) / 2


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


@cache
def recalled() -> list[tuple[str, str]]:
    """Questions and answers of recall quizzes."""
    return [turn for row in islice(recall_quizzes(1), 5 * ROWS) for turn in turns(row)]


def test_recalled_sums_are_right_and_in_training() -> None:
    sums = [(re.search(r"(\d+) ?(\+|-|\*|x|plus|minus|times) ?(\d+)", q), answer) for q, answer in recalled()]
    found = [(*match.groups(), answer) for match, answer in sums if match]
    assert len(found) > ROWS
    for a, sign, b, answer in found:
        kind = {"+": "plus", "-": "minus", "*": "times", "x": "times"}.get(sign, sign)
        x, y = int(a), int(b)
        assert int(answer) == {"plus": x + y, "minus": x - y, "times": x * y}[kind]
        first, second = (x, y) if kind == "minus" else sorted((x, y))
        assert kind == "times" or split_of(f"{kind}:{first}:{second}") == "train"


def test_recalled_facts_are_the_tables() -> None:
    known = {f"What is the capital of {fact.slots['x']}?": fact.answer for fact in facts("capital")}
    asked = [turn for turn in recalled() if turn[0] in known]
    assert len(asked) > 10
    for question, answer in asked:
        assert known[question] == answer


def test_recalled_questions_stand_in_no_other_split() -> None:
    asked = {question for question, _ in recalled()}
    held = {
        row["messages"][-2]["content"]
        for split in ("validation", "test_seen", "test_unseen")
        for row in islice(stream(split, 1), 2000)
        if row["family"] in ("facts", "arithmetic", "lists", "smalltalk")
    }
    assert len(asked) > 1000
    assert len(held) > 500
    assert not asked & held


def test_words_of_drills_are_no_words_of_chats() -> None:
    for topic, templates in DRILL_PHRASINGS.items():
        seen, unseen = PHRASINGS[topic]
        assert not set(templates) & {*seen, *unseen}
