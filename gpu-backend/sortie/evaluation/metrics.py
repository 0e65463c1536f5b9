"""Whether an answer is right, and how nearly."""

from __future__ import annotations

import re
import string
from collections import Counter

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and doubled spaces (SQuAD's official script, Rajpurkar et al. 2016)."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, references: list[str]) -> bool:
    """Whether a normalised answer is one of the normalised references."""
    return normalise(answer) in map(normalise, references)


def f1(answer: str, references: list[str]) -> float:
    """Greatest harmonic mean of precision and recall over words, of all references, 0..1 (SQuAD)."""
    return max((_f1(normalise(answer).split(), normalise(r).split()) for r in references), default=0.0)


def _f1(words: list[str], wanted: list[str]) -> float:
    if not words or not wanted:
        return float(words == wanted)
    shared = sum((Counter(words) & Counter(wanted)).values())
    return 2 * shared / (len(words) + len(wanted))
