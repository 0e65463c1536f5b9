"""A map bounded by bytes and age: what was used longest ago goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """expires_at: by the map's clock."""

    value: T
    bytes: int
    expires_at: float


class ByteLru(Generic[T]):
    """Not thread-safe: its owner has a lock."""

    def __init__(
        self,
        max_bytes: int,
        ttl_seconds: float,
        now: Callable[[], float] = time.monotonic,
        dropped: Callable[[T], None] = lambda value: None,
    ) -> None:
        """max_bytes: of all values together. ttl_seconds: how long a value is good for, used or not.

        dropped: told of every value that goes.
        """
        self._max_bytes, self._ttl, self._now, self._dropped = max_bytes, ttl_seconds, now, dropped
        # Used longest ago first.
        self._entries: OrderedDict[str, Entry[T]] = OrderedDict()
        self.bytes = 0
        # Values that went to make room.
        self.evicted = 0

    @property
    def size(self) -> int:
        """Values held."""
        return len(self._entries)

    def get(self, name: str) -> T | None:
        """The value, which counts as used now; None when there is none, or it is too old."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.expires_at <= self._now():
            self._drop(name)
            return None
        self._entries.move_to_end(name)
        return entry.value

    def put(self, name: str, value: T, size: int) -> None:
        """Keeps a value of so many bytes, unless it is larger than the whole map may be."""
        self._drop(name)
        if size > self._max_bytes:
            self._dropped(value)
            return
        now = self._now()
        self.bytes += size
        self._entries[name] = Entry(value, size, now + self._ttl)
        while self.bytes > self._max_bytes or next(iter(self._entries.values())).expires_at <= now:
            self._drop(next(iter(self._entries)))
            self.evicted += 1

    def delete_where(self, fits: Callable[[str], bool]) -> None:
        """Forgets every value whose name fits."""
        for name in [name for name in self._entries if fits(name)]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self.bytes -= entry.bytes
            self._dropped(entry.value)
