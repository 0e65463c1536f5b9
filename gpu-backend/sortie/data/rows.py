"""Data files to rows: chats (`messages`), Alpaca (`instruction`, `input`, `output`) and plain text.

Every row that cannot be used is a `BadRow` with its line (or row) number. The caller decides whether it may be skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError

ROLES = ("system", "user", "assistant", "tool")
TEXT_SEPARATOR = "<|endoftext|>"
# Bad rows named in an error message; the rest are counted.
NAMED_BAD_ROWS = 5


@dataclass(frozen=True)
class Chat:
    """One conversation; every assistant turn is an answer to learn."""

    number: int
    messages: list[dict[str, str]]


@dataclass(frozen=True)
class Text:
    """One text, all of which is to be learnt."""

    number: int
    text: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its line in a JSONL file, or its place in a JSON array, from 1."""

    number: int
    reason: str


Row = Chat | Text


def read_rows(path: Path, skip_bad: bool = False) -> tuple[list[Row], list[BadRow]]:
    """All usable rows of a file, and the others.

    `.jsonl`: one object a line, with `messages`, with `instruction` and `output`, or with `text`. `.json`: an array of
    such objects. `.txt`: texts with `<|endoftext|>` between them. Raises UserError for a file of no such kind,
    for one without a usable row, and, unless skip_bad, for bad rows.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    rows: list[Row] = []
    bad: list[BadRow] = []
    for row in _parse(path):
        (bad if isinstance(row, BadRow) else rows).append(row)
    if bad and not skip_bad:
        raise UserError(f"{path}: {describe_bad(bad)}; mend them, or pass --skip-bad to go on without them")
    if not rows:
        raise UserError(f"{path} has no usable row" + (f": {describe_bad(bad)}" if bad else ""))
    return rows, bad


def describe_bad(bad: list[BadRow]) -> str:
    """The first few by number and reason, the rest counted."""
    named = "; ".join(f"row {row.number}: {row.reason}" for row in bad[:NAMED_BAD_ROWS])
    more = len(bad) - NAMED_BAD_ROWS
    return f"{len(bad)} bad row{'s' if len(bad) > 1 else ''} ({named}{f'; and {more} more' if more > 0 else ''})"


def _parse(path: Path) -> Iterator[Row | BadRow]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".txt":
        for number, part in enumerate(text.split(TEXT_SEPARATOR), 1):
            if part.strip():
                yield Text(number, part.strip())
    elif path.suffix == ".json":
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path} is not JSON: {error}") from error
        if not isinstance(values, list):
            raise UserError(f"{path} must hold an array of rows")
        for number, value in enumerate(values, 1):
            yield row_of(value, number)
    elif path.suffix == ".jsonl":
        for number, value in parse_lines(text):
            yield value if isinstance(value, BadRow) else row_of(value, number)
    else:
        raise UserError(f"{path}: the name must end in .jsonl, .json or .txt")


def parse_lines(text: str) -> Iterator[tuple[int, Any]]:
    """JSON lines with their numbers: a parsed value, or a BadRow; empty lines are left out."""
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            yield number, BadRow(number, f"not JSON ({error})")


def row_of(value: Any, number: int) -> Row | BadRow:
    """A parsed row as a chat or a text, or what is wrong with it."""
    if not isinstance(value, dict):
        return BadRow(number, "not an object")
    if "messages" in value:
        return _chat(value["messages"], number)
    if "text" in value:
        text = value["text"]
        return (
            Text(number, text) if isinstance(text, str) and text.strip() else BadRow(number, "text must not be empty")
        )
    if "instruction" in value and "output" in value:
        parts = [value["instruction"], value.get("input") or ""]
        if not all(isinstance(part, str) for part in [*parts, value["output"]]):
            return BadRow(number, "instruction, input and output must be strings")
        asked = "\n\n".join(part.strip() for part in parts if part.strip())
        return _chat([{"role": "user", "content": asked}, {"role": "assistant", "content": value["output"]}], number)
    return BadRow(number, "neither `messages` nor `instruction` and `output` nor `text`")


def _chat(messages: Any, number: int) -> Chat | BadRow:
    if not isinstance(messages, list) or not messages:
        return BadRow(number, "messages must be a list that is not empty")
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return BadRow(number, f"a message's role must be one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return BadRow(number, "a message's content must be text that is not empty")
    if messages[-1]["role"] != "assistant":
        return BadRow(number, "the last message must be the assistant's")
    return Chat(number, [{"role": m["role"], "content": m["content"]} for m in messages])
