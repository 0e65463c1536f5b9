"""Checkers of answers, defined so that another language can implement them from the JSON alone.

normalise(text): Unicode case folding, runs of white space become one space, ends trimmed, then one final
`.` or `!` removed and ends trimmed again.

kind `exact`:    normalise(answer) equals normalise(checker.answer)
kind `contains`: every one of checker.words occurs in the answer as a whole word (normalised), and the
                 answer has at most checker.max_words words and ends in `.` or `!`
"""

from __future__ import annotations

import re
from typing import Any

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def normalise(text: str) -> str:
    """Text as the checkers compare it (see the module's docstring)."""
    folded = " ".join(text.casefold().split())
    return folded[:-1].rstrip() if folded.endswith((".", "!")) else folded


def check(checker: dict[str, Any], answer: str) -> bool:
    """Whether an answer passes. Raises ValueError for an unknown kind."""
    if checker["kind"] == "exact":
        return normalise(answer) == normalise(checker["answer"])
    if checker["kind"] == "contains":
        words = WORD.findall(answer.casefold())
        wanted = {word.casefold() for word in checker["words"]}
        ended = answer.strip().endswith((".", "!"))
        return ended and len(words) <= checker["max_words"] and wanted <= set(words)
    raise ValueError(f"unknown checker kind {checker['kind']!r}")
