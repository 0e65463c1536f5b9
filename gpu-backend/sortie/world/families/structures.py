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


def chain(rng: Random) -> Item:
    """A map of letters, and one to five steps along it; the pairs stand in random order.

    Every letter points somewhere, the last one back to any other: on an open path the answer of the longest walk would
    be the one letter that points nowhere, on a closed ring it would be the start's predecessor.
    """
    hops = rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 5))
    size = rng.randint(max(hops + 1, 4), max(hops + 2, 5))
    path = rng.sample(LETTERS, size)
    back = rng.choice(path[:-1])
    pairs = list(zip(path, [*path[1:], back], strict=True))
    rng.shuffle(pairs)
    listed = ", ".join(f"{a} points to {b}" for a, b in pairs)
    steps = f"{NUMBER_WORDS[hops]} step" + ("" if hops == 1 else "s")
    slots = {"map": listed, "start": path[0], "steps": steps}
    key = f"chain:{'>'.join(path)}>{back}:{hops}"
    return Item("chains", "chain", hops, key, slots, path[hops])


def lookup(rng: Random) -> Item:
    """Which number belongs to a thing, out of three to six."""
    size = rng.randint(3, 6)
    things = rng.sample(LIST_WORDS, size)
    prices = rng.sample(range(1, 100), size)
    listed = ", ".join(f"{thing} {price}" for thing, price in zip(things, prices, strict=True))
    n = rng.randrange(size)
    slots = {"list": listed, "thing": things[n]}
    key = f"lookup:{sorted(zip(things, prices, strict=True))}:{things[n]}"
    return Item("chains", "lookup", 1, key, slots, str(prices[n]))


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
