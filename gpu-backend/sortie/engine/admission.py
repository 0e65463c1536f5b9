"""Who is let in next: requests of one exit together, as long as those who wait for another can bear it.

A step costs the most for its first row, and a shallow request takes few pages of the kvCache. Among themselves shallow
requests are many rows through few layers; beside deep ones they are few, and spare the deep layers no run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

# How many that came later may be let in before a request.
OVERTAKE = 32

Item = TypeVar("Item")


def next_in(exits: Sequence[int], current: int | None, overtaken: int, most: int) -> int:
    """The place, from 0, of who is next: the first of the current exit, or the first of all.

    exits: of those waiting, in order of arrival; one or more. current: the exit let in last. overtaken: how many that
    came after the first of all were let in before it; once they are `most`, it is next. Nobody is overtaken more often
    than the first, so nobody more than `most` times, and nobody by one of the same exit.
    """
    if overtaken >= most or current not in exits:
        return 0
    return exits.index(current)


@dataclass(eq=False)
class _Waiting(Generic[Item]):
    item: Item
    exit_layer: int
    overtaken: int = 0


class Line(Generic[Item]):
    """Those who wait, in order of arrival."""

    def __init__(self, most: int) -> None:
        """most: how many that came later may be let in before one; 0: first come, first served."""
        self._most = most
        self._waiting: list[_Waiting[Item]] = []
        self._current: int | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[Item]:
        """Those who wait now, in order of arrival."""
        return iter([w.item for w in self._waiting])

    def join(self, item: Item, exit_layer: int) -> None:
        """Adds one at the end."""
        self._waiting.append(_Waiting(item, exit_layer))

    def leave(self, item: Item) -> None:
        """Takes one out that waits no longer; that overtakes nobody."""
        self._waiting = [w for w in self._waiting if w.item is not item]

    def next(self) -> Item | None:
        """Who is to be let in next; the same one until somebody is let in, leaves or joins."""
        return self._waiting[self._place()].item if self._waiting else None

    def admit(self) -> None:
        """Lets `next` in."""
        place = self._place()
        self._current = self._waiting.pop(place).exit_layer
        for passed in self._waiting[:place]:
            passed.overtaken += 1

    def _place(self) -> int:
        exits = [w.exit_layer for w in self._waiting]
        return next_in(exits, self._current, self._waiting[0].overtaken, self._most)
