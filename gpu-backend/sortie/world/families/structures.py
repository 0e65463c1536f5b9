"""Lists, lookups, chains and orderings: everything that is answered from the prompt alone."""

from __future__ import annotations

from random import Random

from ..item import Item
from .numbers import NUMBER_WORDS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
LIST_WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "lamp",
    "chair",
    "bread",
    "tiger",
    "green",
    "table",
    "horse",
    "music",
    "paper",
    "glass",
    "sugar",
    "plant",
    "queen",
    "robot",
    "snow",
    "train",
    "wheel",
    "bird",
    "boat",
    "cake",
    "desk",
    "door",
    "fish",
    "flag",
    "fork",
    "gold",
    "hat",
    "ink",
    "jar",
    "key",
    "leaf",
    "moon",
    "nest",
    "oven",
    "pen",
    "rope",
    "salt",
    "tent",
    "vase",
    "wolf",
    "yarn",
    "zebra",
    "book",
    "clock",
]
BOX_COLORS = ["red", "blue", "green", "black", "white", "yellow", "orange", "purple", "brown", "pink"]
# comparative, superlative of more, superlative of less
ORDERS = (
    ("heavier", "heaviest", "lightest"),
    ("bigger", "biggest", "smallest"),
    ("older", "oldest", "newest"),
)


def list_item(rng: Random) -> Item:
    """nth, last, count, reverse or sort of a short list of words or numbers."""
    op = rng.choice(("nth", "last", "count", "reverse", "reverse", "sort"))
    size = rng.randint(3, 6)
    if op == "sort":
        size = rng.randint(3, 5)
        values = [str(n) for n in rng.sample(range(100), size)]
    else:
        values = rng.sample(LIST_WORDS, size)
    listed = ", ".join(values)
    slots = {"list": listed}
    key = f"{op}:{listed}"
    difficulty = 1
    if op == "nth":
        n = rng.randrange(min(size, len(ORDINALS)))
        slots["nth"] = ORDINALS[n]
        key += f":{n}"
        answer = values[n]
    elif op == "last":
        answer = values[-1]
    elif op == "count":
        answer = str(size)
    elif op == "reverse":
        answer = ", ".join(reversed(values))
        difficulty = 2 if size <= 4 else 3
    else:
        answer = ", ".join(sorted(values, key=int))
        difficulty = size - 1
    return Item("lists", f"list_{op}", difficulty, key, slots, answer)


def repeat(rng: Random) -> Item:
    """A list, said again."""
    size = rng.randint(3, 8)
    values = rng.sample(LIST_WORDS if rng.random() < 0.5 else LETTERS, size)
    listed = ", ".join(values)
    return Item("lists", "list_repeat", 1, f"repeat:{listed}", {"list": listed}, listed)


def letter_map(rng: Random, hops: int) -> tuple[list[str], str, str]:
    """A map of letters with a path of at least `hops` steps: the path, its key, the map as text.

    The pairs stand in random order. Every letter points somewhere, the last one back to any other: on an open path the
    answer of the longest walk would be the one letter that points nowhere, on a closed ring it would be the start's
    predecessor.
    """
    size = rng.randint(max(hops + 1, 4), max(hops + 2, 5))
    path = rng.sample(LETTERS, size)
    back = rng.choice(path[:-1])
    pairs = list(zip(path, [*path[1:], back], strict=True))
    rng.shuffle(pairs)
    return path, f"{'>'.join(path)}>{back}", ", ".join(f"{a} points to {b}" for a, b in pairs)


def chain(rng: Random) -> Item:
    """Where one to five steps along a map of letters lead."""
    hops = rng.choice((1, 1, 2, 2, 3, 3, 4, 4, 5))
    path, key, listed = letter_map(rng, hops)
    steps = f"{NUMBER_WORDS[hops]} step" + ("" if hops == 1 else "s")
    slots = {"map": listed, "start": path[0], "steps": steps}
    return Item("chains", "chain", hops, f"chain:{key}:{hops}", slots, path[hops])


def trail(rng: Random) -> Item:
    """The same walk, told step by step: every letter follows from the one before."""
    hops = rng.randint(2, 5)
    path, key, listed = letter_map(rng, hops)
    slots = {"map": listed, "start": path[0], "steps": f"{NUMBER_WORDS[hops]} steps"}
    return Item("lookups", "trail", 2, f"trail:{key}:{hops}", slots, ", ".join(path[: hops + 1]))


def lookup(rng: Random) -> Item:
    """Which number belongs to a thing, out of three to six."""
    things, prices, listed, key = price_list(rng)
    n = rng.randrange(len(things))
    slots = {"list": listed, "thing": things[n]}
    return Item("lookups", "lookup", 1, f"lookup:{key}:{things[n]}", slots, str(prices[n]))


def lookup_many(rng: Random) -> Item:
    """The numbers of two to four things, in the order asked for."""
    things, prices, listed, key = price_list(rng)
    asked = rng.sample(range(len(things)), rng.randint(2, min(4, len(things))))
    slots = {"list": listed, "things": ", ".join(things[n] for n in asked)}
    answer = ", ".join(f"{things[n]} {prices[n]}" for n in asked)
    return Item("lookups", "lookup_many", 2, f"lookup_many:{key}:{slots['things']}", slots, answer)


def price_list(rng: Random) -> tuple[list[str], list[int], str, str]:
    """Three to six things with their numbers: things, numbers, the list as text, its key whatever the order."""
    size = rng.randint(3, 6)
    things = rng.sample(LIST_WORDS, size)
    prices = rng.sample(range(1, 100), size)
    listed = ", ".join(f"{thing} {price}" for thing, price in zip(things, prices, strict=True))
    return things, prices, listed, str(sorted(zip(things, prices, strict=True)))


def ordering(rng: Random) -> Item:
    """The extreme of three or four boxes from comparisons of neighbours, told in random order."""
    size = rng.choice((3, 3, 4))
    boxes = rng.sample(BOX_COLORS, size)  # most first
    comparative, most, least = rng.choice(ORDERS)
    facts = [f"The {a} box is {comparative} than the {b} box." for a, b in zip(boxes, boxes[1:], strict=False)]
    rng.shuffle(facts)
    want_most = rng.random() < 0.5
    slots = {"facts": " ".join(facts), "which": most if want_most else least}
    key = f"order:{comparative}:{boxes}:{slots['which']}"
    answer = boxes[0] if want_most else boxes[-1]
    return Item("comparison", "ordering", size, key, slots, answer)
