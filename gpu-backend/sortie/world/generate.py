"""The world's examples: deterministic, endless for training, disjoint between splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from .facts import fact
from .families import numbers, structures, text
from .item import Item, bucket
from .phrasing import AFTER, BEFORE, PHRASINGS, SYSTEMS

# share of examples, maker: what must be worked out needs the most examples, facts and small tables need repeats
MAKERS: tuple[tuple[int, Callable[[Random], Item]], ...] = (
    (12, fact),
    (10, numbers.one_step),
    (17, numbers.running),
    (3, numbers.compare),
    (8, numbers.day),
    (7, numbers.month),
    (2, numbers.unit),
    (10, structures.list_item),
    (1, structures.repeat),
    (12, structures.chain),
    (2, structures.trail),
    (4, structures.lookup),
    (3, structures.lookup_many),
    (3, structures.ordering),
    (1, text.story),
    (1, text.explanation),
    (3, text.small_talk),
)
SPLITS = ("train", "validation", "test_seen", "test_unseen")
# Buckets 0..99 of a content's hash: which split it may stand in.
VALIDATION_BUCKETS = range(0, 5)
TEST_BUCKETS = range(5, 10)
# Shares of examples with a system message, with earlier turns, and in lower case.
SYSTEM_SHARE = 0.12
EARLIER_TURNS_SHARE = 0.25
MOST_EARLIER_TURNS = 5
# Earlier turns end once they have so many characters: a row stays below about 250 tokens.
EARLIER_CHARACTERS = 320
LOWER_CASE_SHARE = 0.12


def split_of(content: str) -> str:
    """train, validation or test, by the content's hash."""
    b = bucket(content)
    return "validation" if b in VALIDATION_BUCKETS else "test" if b in TEST_BUCKETS else "train"


def allowed(item: Item, phrasing: int, seen: bool, split: str) -> bool:
    """Whether an example may stand in a split.

    Worked-out content is split by the content, what is learnt by heart by (content, phrasing); unseen phrasings stand
    in test_unseen alone.
    """
    if not seen:
        home = split_of(item.key)
        return split == "test_unseen" and (item.fixed or home == "test")
    if split == "test_unseen":
        return False
    home = split_of(f"{item.key}|{phrasing}" if item.fixed else item.key)
    if item.fixed and phrasing == 0:
        home = "train"  # everything learnt by heart stands in the training text
    return home == {"test_seen": "test"}.get(split, split)


def draw(rng: Random, split: str) -> tuple[Item, int, bool]:
    """An item and a phrasing that may stand in the split."""
    weights = [share for share, _ in MAKERS]
    while True:
        (_, maker), *_ = rng.choices(MAKERS, weights)
        item = maker(rng)
        seen, unseen = PHRASINGS[item.topic]
        use_seen = split != "test_unseen"
        phrasing = rng.randrange(len(seen if use_seen else unseen))
        if allowed(item, phrasing, use_seen, split):
            return item, phrasing, use_seen


def question(rng: Random, item: Item, phrasing: int, seen: bool, plain: bool = False) -> str:
    """The item's question in one of its phrasings, as people type it."""
    template = PHRASINGS[item.topic][0 if seen else 1][phrasing]
    asked = template.format(**item.slots)
    asked = asked[0].upper() + asked[1:] if not asked.startswith(item.slots.get("x", "\0")) else asked
    if plain or item.family == "smalltalk":
        return asked
    if rng.random() < LOWER_CASE_SHARE and item.topic not in ("chain", "element", "symbol"):
        asked = asked.lower()
    if rng.random() < LOWER_CASE_SHARE and asked.endswith("?"):
        asked = asked[:-1]
    return rng.choice(BEFORE) + asked + rng.choice(AFTER)


def example(rng: Random, split: str, index: int) -> dict[str, Any]:
    """One row: id, split, family, difficulty, messages, checker, phrasing, seen_phrasing."""
    item, phrasing, seen = draw(rng, split)
    messages: list[dict[str, str]] = []
    if rng.random() < SYSTEM_SHARE:
        messages.append({"role": "system", "content": rng.choice(SYSTEMS)})
    if rng.random() < EARLIER_TURNS_SHARE:
        for _ in range(rng.randint(1, MOST_EARLIER_TURNS)):
            if sum(len(message["content"]) for message in messages) < EARLIER_CHARACTERS:
                earlier, how, was_seen = draw(rng, split)
                messages.append({"role": "user", "content": question(rng, earlier, how, was_seen)})
                messages.append({"role": "assistant", "content": earlier.answer})
    messages.append({"role": "user", "content": question(rng, item, phrasing, seen)})
    messages.append({"role": "assistant", "content": item.answer})
    return {
        "id": f"{split}-{index}",
        "split": split,
        "family": item.family,
        "difficulty": item.difficulty,
        "messages": messages,
        "checker": item.check(),
        "phrasing": f"{item.topic}/{phrasing}",
        "seen_phrasing": seen,
    }


def stream(split: str, seed: int, start: int = 0) -> Iterator[dict[str, Any]]:
    """Endless rows of a split; row i depends on (split, seed, i) alone, so a run resumes anywhere.

    Raises ValueError for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; splits are {', '.join(SPLITS)}")
    index = start
    while True:
        yield example(Random(f"{seed}:{split}:{index}"), split, index)
        index += 1


def balanced(split: str, seed: int, count: int) -> list[dict[str, Any]]:
    """`count` rows, about equally many of every family and difficulty."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    # Rare groups come about once in a hundred rows.
    for row in stream(split, seed):
        groups.setdefault((row["family"], row["difficulty"]), []).append(row)
        if int(row["id"].rsplit("-", 1)[1]) >= 8 * count:
            break
    rows: list[dict[str, Any]] = []
    depth = 0
    while len(rows) < count:
        layer = [group[depth] for _, group in sorted(groups.items()) if depth < len(group)]
        if not layer:
            break
        rows += layer[: count - len(rows)]
        depth += 1
    return rows
