"""The pieces an example is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Item:
    """One question with its answer, before it is phrased.

    key:   what the content is; worked-out families are split by it
    topic: which phrasings fit
    slots: what the phrasing's {names} stand for
    fixed: True for what is learnt by heart (facts, small tables), which is split by (content, phrasing) instead
    """

    family: str
    topic: str
    difficulty: int
    key: str
    slots: dict[str, str]
    answer: str
    checker: dict[str, Any] = field(default_factory=dict)
    fixed: bool = False

    def check(self) -> dict[str, Any]:
        """The checker of this answer: exact unless the family says otherwise."""
        return self.checker or {"kind": "exact", "answer": self.answer}


def with_article(noun: str) -> str:
    """`a` or `an` before a noun, by its first letter."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def bucket(text: str, buckets: int = 100) -> int:
    """A stable hash of text into 0..buckets-1 (SHA-256, the same on every machine)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % buckets
