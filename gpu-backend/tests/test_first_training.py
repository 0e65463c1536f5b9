"""Batches and the learning rate; the committed checkpoint against its own card."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from sortie.data.encode import open_tokenizer
from sortie.first.batches import LENGTHS, ChatEncoder, batches
from sortie.first.evaluate import evaluate, summarise
from sortie.first.nested import load
from sortie.first.objectives import IGNORE
from sortie.first.train import learning_rate, parse_shape
from sortie.world.generate import stream

TINY = Path(__file__).parents[2] / "models" / "tiny"


@pytest.fixture(scope="module")
def tokenizer():
    return open_tokenizer(TINY)


def test_batches_are_a_function_of_the_rows(tokenizer) -> None:
    first = list(islice(batches(tokenizer, stream("train", 1), 1024), 6))
    again = list(islice(batches(tokenizer, stream("train", 1), 1024), 3, 6))
    for one, other in zip(first[3:], again, strict=True):
        assert torch.equal(one.ids, other.ids)
    for batch in first:
        assert batch.ids.shape[1] in LENGTHS
        assert batch.ids.shape[0] == 1024 // batch.ids.shape[1]


def test_answers_alone_carry_loss(tokenizer) -> None:
    encoder = ChatEncoder(tokenizer)
    for row in islice(stream("train", 5), 200):
        [(ids, mask)] = encoder([row])
        template = tokenizer.apply_chat_template(row["messages"], tokenize=True)["input_ids"]
        assert ids == template
        answers = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        spoken = tokenizer.decode([i for i, keep in zip(ids, mask, strict=True) if keep])
        # Every text begins with a space, which decoding takes away from the first alone.
        assert spoken == "<|end|> ".join(answers) + "<|end|>"


def test_labels_are_the_next_ids(tokenizer) -> None:
    batch = next(batches(tokenizer, stream("train", 1), 1024))
    keep = batch.text_labels[:, :-1] != IGNORE
    assert torch.equal(batch.text_labels[:, :-1][keep], batch.ids[:, 1:][keep])


def test_the_learning_rate_warms_up_and_ends_near_nothing() -> None:
    rates = [learning_rate(share / 100, 1.0) for share in range(101)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] < 0.03
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_an_unknown_size_is_refused_by_name() -> None:
    assert parse_shape("d=64,layers=2").d == 64
    with pytest.raises(ValueError, match="width"):
        parse_shape("width=64")


def test_the_card_says_what_the_checkpoint_does(tokenizer) -> None:
    """A sample of the test rows, evaluated again: right within three standard errors of the card's figure."""
    committed = json.loads((TINY / "eval.json").read_text())["test_seen"]["all"]
    rows = [json.loads(line) for line in (TINY / "test.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "test_seen"][::7]
    measured = summarise(evaluate(load(TINY), tokenizer, rows))["test_seen"]["all"]
    for exit_layer, cell in measured.items():
        p = committed[exit_layer]["exact_match"]
        error = 3 * max(p * (1 - p) / cell["n"], 0.0004) ** 0.5
        assert abs(cell["exact_match"] - p) < error + 0.01, exit_layer
        assert abs(cell["nll"] - committed[exit_layer]["nll"]) < 0.25
