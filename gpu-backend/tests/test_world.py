"""The generated world: deterministic, disjoint splits, checkers that can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortie.world.checkers import check, normalise
from sortie.world.facts import all_facts
from sortie.world.families import numbers, structures
from sortie.world.generate import MAKERS, SPLITS, allowed, balanced, draw, stream
from sortie.world.item import Item
from sortie.world.phrasing import PHRASINGS

ROWS = 3000


def rows(split: str, seed: int = 1) -> list[dict]:
    return list(islice(stream(split, seed), ROWS))


def test_rows_depend_on_split_seed_and_index_alone() -> None:
    again = list(islice(stream("train", 1, start=100), 50))
    assert again == rows("train")[100:150]
    assert again != list(islice(stream("train", 2, start=100), 50))


@pytest.mark.parametrize("split", SPLITS)
def test_every_reference_answer_passes_its_checker(split: str) -> None:
    for row in rows(split):
        assert check(row["checker"], row["messages"][-1]["content"]), row


def test_worked_out_content_is_in_one_split_only() -> None:
    contents = {split: {item.key for item, _, _ in drawn(split) if not item.fixed} for split in SPLITS}
    assert all(len(keys) > 100 for keys in contents.values())
    for split in ("validation", "test_seen", "test_unseen"):
        assert not contents[split] & contents["train"]
        if split != "validation":
            assert not contents[split] & contents["validation"]


def meaning(item: Item) -> tuple:
    """What an item asks, worked out from its slots alone, however it is written."""
    slots = item.slots
    if item.topic in ("sum_plus", "sum_times"):
        return item.topic, frozenset((slots["a"], slots["b"]))
    if item.topic in ("day", "month", "unit"):
        number, *_ = slots["n"].split()
        n = numbers.NUMBER_WORDS.index(number) if number in numbers.NUMBER_WORDS else int(number)
        return item.topic, n, *[slots[name] for name in sorted(slots.keys() - {"n"})]
    if item.topic.startswith("compare"):
        return slots["which"], frozenset(re.findall(r"\d+", slots["numbers"]))
    if item.topic in ("chain", "trail"):
        return frozenset(slots["map"].split(", ")), slots["start"], slots["steps"]
    return frozenset(slots["list"].split(", ")), slots.get("thing"), slots.get("things")


@pytest.mark.parametrize(
    "maker",
    [numbers.one_step, numbers.compare, numbers.day, numbers.month, numbers.unit]
    + [structures.lookup, structures.lookup_many, structures.chain, structures.trail],
)
def test_one_question_has_one_key_however_it_is_written(maker: Callable[[Random], Item]) -> None:
    rng = Random(0)
    keys: dict[tuple, set[str]] = {}
    for _ in range(4000):
        item = maker(rng)
        if item.topic != "sum_minus":
            keys.setdefault(meaning(item), set()).add(item.key)
    assert all(len(found) == 1 for found in keys.values())


def drawn(split: str) -> list:
    rng = Random(split)
    return [draw(rng, split) for _ in range(ROWS)]


def small_tables() -> list[Item]:
    """Every entry of the tables that are learnt by heart."""
    rng = Random(0)
    makers = (numbers.one_step, numbers.day, numbers.month, numbers.unit)
    items = (maker(rng) for maker in makers for _ in range(6000))
    return list({item.key: item for item in items if item.fixed}.values())


def test_small_tables_are_as_small_as_their_module_says() -> None:
    topics = [item.topic for item in small_tables()]
    counts = {topic: topics.count(topic) for topic in ("sum_times", "day", "month", "unit")}
    assert counts == {"sum_times": 91, "day": 196, "month": 264, "unit": 228}


def test_what_is_learnt_by_heart_is_split_by_phrasing_and_all_of_it_is_taught() -> None:
    for fact in [*all_facts(), *small_tables()]:
        seen, unseen = PHRASINGS[fact.topic]
        homes = [[split for split in SPLITS if allowed(fact, phrasing, True, split)] for phrasing in range(len(seen))]
        assert all(len(home) == 1 for home in homes)
        assert ["train"] in homes
        for phrasing in range(len(unseen)):
            assert [s for s in SPLITS if allowed(fact, phrasing, False, s)] == ["test_unseen"]


def test_unseen_phrasings_are_not_among_the_seen() -> None:
    for seen, unseen in PHRASINGS.values():
        assert not set(seen) & set(unseen)
        assert seen and unseen


def test_there_are_some_thousands_of_facts_with_one_answer_each() -> None:
    facts = all_facts()
    assert len(facts) > 2000
    assert len({fact.key for fact in facts}) == len(facts)


def test_every_family_makes_the_difficulties_it_promises() -> None:
    rng = Random(0)
    hops = {structures.chain(rng).difficulty for _ in range(500)}
    steps = {numbers.running(rng).difficulty for _ in range(500)}
    assert hops == {1, 2, 3, 4, 5}
    assert steps == {2, 3, 4, 5}
    assert {maker(rng).topic for _, maker in MAKERS for _ in range(300)} >= set(PHRASINGS) - {"capital"}


def test_no_letter_of_a_map_stands_out_as_the_end() -> None:
    rng = Random(0)
    for item in (structures.chain(rng) for _ in range(500)):
        arrows = dict(pair.split(" points to ") for pair in item.slots["map"].split(", "))
        assert set(arrows.values()) <= set(arrows)


@given(st.integers(0, 10_000))
def test_chain_answers_are_what_walking_the_map_gives(seed: int) -> None:
    item = structures.chain(Random(seed))
    arrows = dict(pair.split(" points to ") for pair in item.slots["map"].split(", "))
    at = item.slots["start"]
    for _ in range(item.difficulty):
        at = arrows[at]
    assert at == item.answer


@given(st.integers(0, 10_000))
def test_trails_follow_the_map_and_lists_of_prices_tell_them(seed: int) -> None:
    item = structures.trail(Random(seed))
    arrows = dict(pair.split(" points to ") for pair in item.slots["map"].split(", "))
    path = item.answer.split(", ")
    assert path[0] == item.slots["start"]
    assert [arrows[letter] for letter in path[:-1]] == path[1:]
    many = structures.lookup_many(Random(seed))
    assert [pair.split()[0] for pair in many.answer.split(", ")] == many.slots["things"].split(", ")
    assert set(many.answer.split(", ")) <= set(many.slots["list"].split(", "))


@given(st.integers(0, 10_000))
def test_running_answers_are_what_calculating_gives(seed: int) -> None:
    item = numbers.running(Random(seed))
    value = int(item.slots["start"])
    for step in item.slots["steps"].replace("then ", "").split(", "):
        if step == "double it":
            value *= 2
        else:
            verb, n = step.split()
            value += int(n) if verb == "add" else -int(n)
        assert 0 <= value < numbers.LIMIT
    assert str(value) == item.answer


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_more_than_the_final_mark(text: str) -> None:
    assert normalise(normalise(text) + " ") in (normalise(text), normalise(normalise(text)))


@given(st.text("abc", min_size=1, max_size=8), st.text("xyz", min_size=1, max_size=8))
def test_exact_refuses_another_answer(answer: str, other: str) -> None:
    checker = {"kind": "exact", "answer": answer}
    assert check(checker, f"  {answer.upper()}. ")
    assert not check(checker, other)
    assert not check(checker, f"{answer} {other}")


def test_contains_wants_every_word_an_end_and_no_flood() -> None:
    checker = {"kind": "contains", "words": ["fox", "lamp"], "max_words": 6}
    assert check(checker, "A fox found a lamp.")
    assert not check(checker, "A fox found a lamp")
    assert not check(checker, "A foxy found a lamp.")
    assert not check(checker, "A fox found a lamp and then another lamp.")


def test_balanced_rows_cover_groups_about_equally() -> None:
    counts: dict[tuple, int] = {}
    for row in balanced("test_seen", 1, 400):
        group = (row["family"], row["difficulty"])
        counts[group] = counts.get(group, 0) + 1
    assert len(counts) >= 25
    assert max(counts.values()) <= 25
