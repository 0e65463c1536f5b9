"""Short stories and explanations with checkable constraints, and small talk."""

from __future__ import annotations

from random import Random

from ..facts import table
from ..item import Item, with_article

HEROES = [
    "fox",
    "dog",
    "cat",
    "bird",
    "bear",
    "mouse",
    "rabbit",
    "frog",
    "horse",
    "duck",
    "owl",
    "lion",
    "pig",
    "goat",
    "bee",
]
OBJECTS = [
    "lamp",
    "ball",
    "book",
    "boat",
    "key",
    "cake",
    "hat",
    "bell",
    "kite",
    "coin",
    "map",
    "drum",
    "flower",
    "stone",
    "cup",
]
PLACES = ["garden", "forest", "village", "river", "house", "field", "hill", "beach", "park", "market"]
STORIES = (
    "{A_hero} found a {thing} in the {place}. It took the {thing} home and was happy.",
    "One day {a_hero} lost its {thing} in the {place}. A friend found it and gave it back.",
    "In the {place} lived {a_hero} with a {thing}. Every evening it showed the {thing} to its friends.",
)
# Longest story, in words, with room for another wording.
MAX_STORY_WORDS = 40
MAX_EXPLANATION_WORDS = 20

SMALL_TALK = (
    ("hello", "Hello! How can I help you?"),
    ("who", "I am tiny, a small sorted language model."),
    ("how", "I am fine, thank you! How can I help you?"),
    ("thanks", "You are welcome!"),
    ("bye", "Goodbye!"),
    ("can", "I can answer short questions about facts, numbers, lists and dates."),
)


def story(rng: Random) -> Item:
    """Two sentences about a hero, a thing and a place."""
    hero, thing, place = rng.choice(HEROES), rng.choice(OBJECTS), rng.choice(PLACES)
    named = with_article(hero)
    slots = {"hero": hero, "a_hero": named, "A_hero": named[0].upper() + named[1:], "thing": thing, "place": place}
    key = f"story:{hero}:{thing}:{place}"
    plot = STORIES[(HEROES.index(hero) + OBJECTS.index(thing)) % len(STORIES)]
    checker = {"kind": "contains", "words": [hero, thing, place], "max_words": MAX_STORY_WORDS}
    return Item("text", "story", 3, key, slots, plot.format(**slots), checker)


def explanation(rng: Random) -> Item:
    """What somebody of a profession does, in one sentence."""
    row = rng.choice(table("professions"))
    named = with_article(row["profession"])
    answer = f"{named[0].upper()}{named[1:]} {row['task']}."
    words = [*row["profession"].split(), *[w for w in row["task"].split() if len(w) > 3]]
    checker = {"kind": "contains", "words": words, "max_words": MAX_EXPLANATION_WORDS}
    slots = {"a_profession": named}
    return Item("text", "explanation", 1, f"explain:{row['profession']}", slots, answer, checker, fixed=True)


def small_talk(rng: Random) -> Item:
    """Greetings, thanks, and who is speaking."""
    topic, answer = rng.choice(SMALL_TALK)
    return Item("smalltalk", f"talk_{topic}", 1, f"talk:{topic}", {}, answer, fixed=True)
