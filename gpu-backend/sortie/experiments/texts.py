"""`python -m sortie.experiments.texts`: rows for the experiments on real text, from the files they are published in.

stories    pieces of stories, cut at sentences
alpaca     the short rows of Alpaca JSON
wikidata   one-fact completions (`context`, `continuation`) as questions in two phrasings; what is scored are facts
           that were taught in the first phrasing alone, asked in the second, which other facts were taught in too
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.rows import TEXT_SEPARATOR
from ..errors import UserError, run_command

# Characters of a piece of a story and of an Alpaca row: below 128 ids of the tokenizers used.
STORY_CHARACTERS = 300
ALPACA_CHARACTERS = 220
SENTENCE = re.compile(r"(?<=[.!?\"”])\s+")
RELATION = re.compile(r"The (?P<relation>[a-z ]+?) of (?P<thing>.+) is")

Row = dict[str, Any]


def pieces(story: str, most: int) -> Iterator[str]:
    """Runs of whole sentences of at most `most` characters; a longer sentence is left out."""
    piece = ""
    for sentence in SENTENCE.split(" ".join(story.split())):
        joined = f"{piece} {sentence}".strip()
        if len(joined) <= most:
            piece = joined
            continue
        if piece:
            yield piece
        piece = sentence if len(sentence) <= most else ""
    if piece:
        yield piece


def stories(text: str, most: int) -> list[Row]:
    """Pieces of a file of stories; they end at `<|endoftext|>`, or each at its line's end where there is none."""
    found = text.split(TEXT_SEPARATOR) if TEXT_SEPARATOR in text else text.split("\n")
    return [{"text": piece} for story in found for piece in pieces(story, most)]


def alpaca(rows: list[Row]) -> list[Row]:
    """Rows that are short and have an answer."""
    fields = ("instruction", "input", "output")
    return [
        {name: row[name] for name in fields}
        for row in rows
        if row["output"].strip() and sum(len(row[name]) for name in fields) <= ALPACA_CHARACTERS
    ]


def phrased(fact: Row, again: bool) -> Row:
    """A fact as a chat: as the completion stands, or again in other words."""
    relation, thing = RELATION.fullmatch(fact["context"]).group("relation", "thing")
    asked = f"What is the {relation} of {thing}?" if again else fact["context"]
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": fact["continuation"]}]
    return {"messages": messages, "family": relation}


def wikidata(facts: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to score: `count` facts taught in both phrasings, `count` others in the first alone."""
    usable = [fact for fact in facts if RELATION.fullmatch(fact["context"])]
    if len(usable) < 2 * count:
        raise UserError(f"{2 * count} facts are needed, the file has {len(usable)}")
    both, once = usable[:count], usable[count : 2 * count]
    taught = [phrased(fact, again=False) for fact in (*both, *once)] + [phrased(fact, again=True) for fact in both]
    return taught, [phrased(fact, again=True) for fact in once]


def write_rows(rows: list[Row], path: Path) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.texts", description=__doc__)
    parser.add_argument("kind", choices=("stories", "alpaca", "wikidata"))
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="source files")
    parser.add_argument("--train", type=Path, required=True, help="rows to train on, to write")
    parser.add_argument("--scored", type=Path, required=True, help="rows to score, to write")
    parser.add_argument("--n", type=int, required=True, help="rows to train on (wikidata: facts of each kind)")
    parser.add_argument("--n-scored", type=int, default=0, help="rows to score (wikidata: as many as facts)")
    parser.add_argument("--characters", type=int, default=STORY_CHARACTERS, help="of a piece of a story")
    args = parser.parse_args()
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in args.files]
    if args.kind == "wikidata":
        facts = [json.loads(line) for text in texts for line in text.split("\n") if line.strip()]
        train, scored = wikidata(facts, args.n)
    else:
        if args.kind == "stories":
            rows = [row for text in texts for row in stories(text, args.characters)]
        else:
            rows = [row for text in texts for row in alpaca(json.loads(text))]
        if len(rows) < args.n_scored + args.n:
            raise UserError(f"{args.n_scored + args.n} rows are needed, the files have {len(rows)}")
        # In the files' order, so that a story's pieces stay on one side.
        scored, train = rows[: args.n_scored], rows[args.n_scored : args.n_scored + args.n]
    write_rows(train, args.train)
    write_rows(scored, args.scored)
    print(f"{len(train)} rows to train on, {len(scored)} to score")


if __name__ == "__main__":
    run_command(_main)
