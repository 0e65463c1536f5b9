"""Closed-book facts: tables of real-world knowledge, and the questions each column answers."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from random import Random

from .item import Item, with_article

FOLDER = Path(__file__).parent / "facts"

# topic: (table, column asked about, column answered, difficulty)
TOPICS: dict[str, tuple[str, str, str, int]] = {
    "capital": ("countries", "country", "capital", 1),
    "capital_of": ("countries", "capital", "country", 2),
    "currency": ("countries", "country", "currency", 1),
    "continent": ("countries", "country", "continent", 1),
    "language": ("countries", "country", "language", 1),
    "symbol": ("elements", "element", "symbol", 1),
    "number": ("elements", "element", "number", 1),
    "element": ("elements", "symbol", "element", 2),
    "opposite": ("opposites", "word", "opposite", 1),
    "plural": ("plurals", "singular", "plural", 1),
    "past": ("past_tense", "verb", "past", 1),
    "young": ("animals", "animal", "young", 1),
    "sound": ("animals", "animal", "sound", 1),
    "legs": ("animals", "animal", "legs", 1),
    "spanish": ("spanish", "english", "spanish", 1),
    "french": ("french", "english", "french", 1),
    "color": ("colors", "thing", "color", 1),
    "category": ("categories", "thing", "category", 1),
    "profession": ("professions", "task", "profession", 1),
    "inventor": ("inventors", "thing", "person", 1),
}


@cache
def table(name: str) -> list[dict[str, str]]:
    """Rows of a table, in the file's order."""
    with (FOLDER / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def facts(topic: str) -> list[Item]:
    """All facts of a topic whose question has one answer."""
    name, asked, answered, difficulty = TOPICS[topic]
    seen: dict[str, str] = {}
    for row in table(name):
        seen[row[asked]] = row[answered] if row[asked] not in seen else ""
    return [
        Item("facts", topic, difficulty, f"{topic}:{x}", {"x": x, "a_x": with_article(x)}, answer, fixed=True)
        for x, answer in seen.items()
        if answer
    ]


@cache
def all_facts() -> list[Item]:
    """Every fact of every topic."""
    return [fact for topic in TOPICS for fact in facts(topic)]


def fact(rng: Random) -> Item:
    """One fact, each equally likely."""
    return rng.choice(all_facts())
