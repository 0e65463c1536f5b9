"""How benchmarks print: a Markdown table for each question, then everything once more as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as a Markdown table."""
    cells = [columns, *([cell if isinstance(cell, str) else digits(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"

    return "\n".join([line(cells[0]), line(["-" * width for width in widths]), *map(line, cells[1:])])


def digits(value: object) -> str:
    """Three significant digits without an exponent; whole numbers as they are."""
    if isinstance(value, int):
        return str(value)
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def finish(result: dict[str, object]) -> None:
    """The last line."""
    print(json.dumps(result))
