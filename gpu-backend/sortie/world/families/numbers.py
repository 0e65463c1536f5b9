"""Arithmetic from one step to five, comparisons of numbers, dates and units.

The times table, the calendar and the units are small tables (91, 196, 264 and 228 entries), learnt by heart like facts:
a held-out entry could not be worked out from the others by a network of this size.
"""

from __future__ import annotations

from random import Random

from ..item import Item

# Sums and running values stay below this.
LIMIT = 100
MOST_DAYS, MOST_MONTHS, MOST_UNITS = 14, 11, 20
NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
# unit, smaller unit, how many of it
UNITS = (
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("days", "hours", 24),
    ("weeks", "days", 7),
    ("years", "months", 12),
    ("meters", "centimeters", 100),
    ("kilometers", "meters", 1000),
    ("centimeters", "millimeters", 10),
    ("kilograms", "grams", 1000),
    ("liters", "milliliters", 1000),
    ("feet", "inches", 12),
    ("dozens", "pieces", 12),
)


def written(rng: Random, n: int) -> str:
    """A number as a word or in digits."""
    return NUMBER_WORDS[n] if n < len(NUMBER_WORDS) and rng.random() < 0.5 else str(n)


def one_step(rng: Random) -> Item:
    """a + b, a - b or a × b with results below LIMIT (× up to 12 × 12).

    Swapped operands are the same sum, so they share a key.
    """
    op = rng.choice(("plus", "plus", "minus", "minus", "times"))
    if op == "times":
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        result = a * b
    else:
        total = rng.randint(2, LIMIT - 1)
        a = rng.randint(1, total - 1)
        b = total - a
        result = total
        if op == "minus":
            a, b, result = total, a, b
    operands = (a, b) if op == "minus" else sorted((a, b))
    key = ":".join(map(str, (op, *operands)))
    slots = {"a": str(a), "b": str(b)}
    return Item("arithmetic", f"sum_{op}", 1, key, slots, str(result), fixed=op == "times")


def running(rng: Random) -> Item:
    """A running calculation of two to five small steps; every value on the way is 0..LIMIT-1."""
    steps = rng.choice((2, 2, 3, 3, 4, 5))
    start = value = rng.randint(1, 20)
    parts: list[str] = []
    while len(parts) < steps:
        kind = rng.choice(("add", "add", "subtract", "subtract", "double"))
        n = rng.randint(1, 9)
        if kind == "add" and value + n < LIMIT:
            value, part = value + n, f"add {n}"
        elif kind == "subtract" and value - n >= 0:
            value, part = value - n, f"subtract {n}"
        elif kind == "double" and value * 2 < LIMIT and "double it" not in parts[-1:]:
            value, part = value * 2, "double it"
        else:
            continue
        parts.append(part)
    listed = ", ".join(parts[:-1]) + f", then {parts[-1]}"
    slots = {"start": str(start), "steps": listed}
    return Item("arithmetic", "running", steps, f"run:{start}:{listed}", slots, str(value))


def compare(rng: Random) -> Item:
    """The larger or smaller of two to five different numbers."""
    count = rng.choice((2, 2, 3, 4, 5))
    numbers = rng.sample(range(LIMIT), count)
    which = rng.choice(("largest", "smallest"))
    answer = max(numbers) if which == "largest" else min(numbers)
    word = {"largest": "larger", "smallest": "smaller"}[which] if count == 2 else which
    listed = " or ".join(map(str, numbers)) if count == 2 else ", ".join(map(str, numbers))
    slots = {"which": word, "numbers": listed}
    difficulty = 1 if count == 2 else count - 1
    topic = "compare_two" if count == 2 else "compare_many"
    return Item("comparison", topic, difficulty, f"cmp:{which}:{sorted(numbers)}", slots, str(answer))


def day(rng: Random) -> Item:
    """The day some days before or after a day of the week."""
    start, n = rng.randrange(7), rng.randint(1, MOST_DAYS)
    after = rng.random() < 0.5
    answer = DAYS[(start + (n if after else -n)) % 7]
    direction = "after" if after else "before"
    unit = "day" if n == 1 else "days"
    slots = {"n": f"{written(rng, n)} {unit}", "direction": direction, "day": DAYS[start]}
    difficulty = 1 if n <= 2 else 2 if n <= 6 else 3
    key = f"day:{start}:{direction}:{n}"
    return Item("dates", "day", difficulty, key, slots, answer, fixed=True)


def month(rng: Random) -> Item:
    """The month some months before or after a month."""
    start, n = rng.randrange(12), rng.randint(1, MOST_MONTHS)
    after = rng.random() < 0.5
    answer = MONTHS[(start + (n if after else -n)) % 12]
    direction = "after" if after else "before"
    unit = "month" if n == 1 else "months"
    slots = {"n": f"{written(rng, n)} {unit}", "direction": direction, "month": MONTHS[start]}
    key = f"month:{start}:{direction}:{n}"
    difficulty = 1 if n <= 2 else 2 if n <= 6 else 3
    return Item("dates", "month", difficulty, key, slots, answer, fixed=True)


def unit(rng: Random) -> Item:
    """So many of a unit in a smaller one."""
    large, small, factor = rng.choice(UNITS)
    n = rng.randint(2, MOST_UNITS)
    difficulty = 1 if factor in (10, 100, 1000) else 2
    slots = {"n": written(rng, n), "large": large, "small": small}
    key = f"unit:{large}:{small}:{n}"
    return Item("units", "unit", difficulty, key, slots, str(n * factor), fixed=True)
