"""Questions with known answers: rows of the generated world, or any chats whose last turn is the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.rows import BadRow, Chat, describe_bad, parse_lines, row_of
from ..errors import UserError
from ..world.checkers import check
from .metrics import exact_match


@dataclass(frozen=True)
class Item:
    """A conversation up to the question, what is right, and the group it is counted in."""

    messages: list[dict[str, str]]
    reference: str
    family: str
    difficulty: int
    split: str
    checker: dict[str, Any] | None

    def right(self, answer: str) -> bool:
        """By the row's checker where it has one, else by exact match with the reference."""
        if self.checker is not None:
            return check(self.checker, answer)
        return exact_match(answer, [self.reference])


def read_items(path: Path) -> list[Item]:
    """Rows of a JSONL file: chats, with `family`, `difficulty`, `split` and `checker` where they have them.

    Raises UserError for rows that are no chats.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    items: list[Item] = []
    bad: list[BadRow] = []
    for number, value in parse_lines(path.read_text(encoding="utf-8")):
        row = value if isinstance(value, BadRow) else row_of(value, number)
        if not isinstance(row, Chat):
            bad.append(row if isinstance(row, BadRow) else BadRow(number, "a text, not a chat"))
            continue
        items.append(
            Item(
                row.messages[:-1],
                row.messages[-1]["content"],
                value.get("family", "all rows"),
                int(value.get("difficulty", 1)),
                value.get("split", "test"),
                value.get("checker"),
            )
        )
    if bad:
        raise UserError(f"{path}: {describe_bad(bad)}")
    return items
