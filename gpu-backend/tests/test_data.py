"""Files to rows, rows to ids, ids to packed batches."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortie.data.encode import Encoder, encode_rows, open_tokenizer
from sortie.data.packing import PADDING, Batches, pack
from sortie.data.rows import Chat, read_rows
from sortie.errors import UserError
from sortie.losses import IGNORE
from sortie.world.generate import stream

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
ALPACA = {"instruction": "Add.", "input": "2, 3", "output": "5"}


def write(path: Path, lines: list[object]) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_bad_rows_are_named_by_line_and_skipped_only_if_asked(tmp_path: Path) -> None:
    file = write(
        tmp_path / "rows.jsonl",
        [
            GOOD,
            "{",
            "",
            {"messages": []},
            {"messages": GOOD["messages"][:1]},
            {"text": ""},
            {**ALPACA, "output": ""},
            ALPACA,
        ],
    )
    with pytest.raises(UserError, match=r"5 bad rows \(row 2: not JSON .*row 4: .*row 5: .*row 6: .*row 7"):
        read_rows(file)
    rows, bad = read_rows(file, skip_bad=True)
    assert [row.number for row in rows] == [1, 8]
    assert [row.number for row in bad] == [2, 4, 5, 6, 7]


def test_alpaca_rows_become_chats(tmp_path: Path) -> None:
    rows, _ = read_rows(write(tmp_path / "rows.json", [json.dumps([ALPACA])]))
    assert rows == [
        Chat(1, [{"role": "user", "content": "Add.\n\n2, 3"}, {"role": "assistant", "content": "5"}]),
    ]


def test_line_separators_inside_strings_end_no_row(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row, ensure_ascii=False))
    assert len(read_rows(file)[0]) == 1


@pytest.mark.parametrize("name", ["rows.csv", "missing.jsonl"])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    with pytest.raises(UserError, match=name):
        read_rows(tmp_path / name)


def test_answers_and_their_ends_alone_are_learnt(encoder: Encoder) -> None:
    for i, row in enumerate(islice(stream("train", 5), 200)):
        encoded = encoder(Chat(i, row["messages"]))
        answers = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        spoken = encoder.tokenizer.decode([t for t, keep in zip(encoded.ids, encoded.learnt, strict=True) if keep])
        assert spoken.replace("<|end|> ", "<|end|>") == "".join(f"{answer}<|end|>" for answer in answers)
        assert encoded.ids[: len(prompt := encoder.prompt(row["messages"][:-1]))] == prompt


def test_a_template_that_rewrites_earlier_turns_is_refused(encoder: Encoder) -> None:
    tokenizer = open_tokenizer(Path(encoder.tokenizer.name_or_path))
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(UserError, match="rewrites earlier turns"):
        Encoder(tokenizer, 4096)(Chat(7, GOOD["messages"] * 2))


def test_missing_templates_and_foreign_tokenizers_are_refused(encoder: Encoder) -> None:
    tokenizer = open_tokenizer(Path(encoder.tokenizer.name_or_path))
    with pytest.raises(UserError, match="belongs to another checkpoint"):
        Encoder(tokenizer, 100)
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="--chat-template"):
        Encoder(tokenizer, 4096)(Chat(1, GOOD["messages"]))


def test_rows_that_do_not_fit_are_named(encoder: Encoder) -> None:
    rows = [Chat(3, GOOD["messages"]), Chat(9, [*GOOD["messages"]] * 30)]
    fitting, bad = encode_rows(encoder, rows, 32)
    assert fitting == [encoder(rows[0])]
    assert [row.number for row in bad] == [9]


@given(st.lists(st.integers(1, 40), max_size=200))
def test_packing_loses_and_doubles_nothing(sizes: list[int]) -> None:
    bins = pack(sizes, 40)
    assert sorted(i for members in bins for i in members) == list(range(len(sizes)))
    assert all(sum(sizes[i] for i in members) <= 40 for members in bins)


@pytest.fixture
def batches(encoder: Encoder) -> Batches:
    rows = [encoder(Chat(i, row["messages"])) for i, row in enumerate(islice(stream("train", 1), 60))]
    return Batches(rows, length=256, bins=3, pad=0, seed=1)


def test_batches_are_a_function_of_seed_and_step(batches: Batches) -> None:
    again = Batches(batches.rows, 256, 3, 0, 1)
    far = 3 * batches.epoch_steps + 1
    assert again[far].ids.equal(batches[far].ids)
    assert not Batches(batches.rows, 256, 3, 0, 2)[0].ids.equal(batches[0].ids)


def test_an_epoch_reads_every_row_once_and_labels_are_the_next_ids(batches: Batches) -> None:
    seen = []
    for batch in batches.once():
        for ids, labels, segments in zip(batch.ids, batch.labels, batch.segments, strict=True):
            for segment in segments.unique().tolist():
                at = segments == segment
                if segment == PADDING:
                    assert (labels[at] == IGNORE).all()
                else:
                    seen.append((ids[at].tolist(), labels[at].tolist()))
    wanted = [
        (r.ids[:-1], [t if keep else IGNORE for t, keep in zip(r.ids[1:], r.learnt[1:], strict=True)])
        for r in batches.rows
    ]
    assert sorted(seen) == sorted(wanted)
