"""Token batches of fixed shapes, a function of the rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .objectives import IGNORE

# Sequence lengths of batches: few shapes to compile, little padding.
LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True)
class Batch:
    """ids [B, T]; labels [B, T] shifted by one, one set a phase, IGNORE where there is no loss."""

    ids: Tensor
    text_labels: Tensor
    answer_labels: Tensor


class ChatEncoder:
    """Rows to (ids, answer mask)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.bos = tokenizer.bos_token_id
        self.eos = tokenizer.eos_token_id
        self.pad = tokenizer.pad_token_id
        self.roles = {role: tokenizer.convert_tokens_to_ids(f"<|{role}|>") for role in ("system", "user", "assistant")}

    def __call__(self, rows: list[dict[str, Any]]) -> list[tuple[list[int], list[bool]]]:
        """The chat template, id by id; every assistant turn and its end token carries loss."""
        texts = [m["content"] for row in rows for m in row["messages"]]
        encoded = iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        result = []
        for row in rows:
            ids, mask = [self.bos], [False]
            for message in row["messages"]:
                content = next(encoded)
                answers = message["role"] == "assistant"
                ids += [self.roles[message["role"]], *content, self.eos]
                mask += [False] + [answers] * (len(content) + 1)
            result.append((ids, mask))
        return result


def batches(tokenizer: PreTrainedTokenizerFast, rows: Iterator[dict[str, Any]], batch_tokens: int) -> Iterator[Batch]:
    """Endless batches of about `batch_tokens` tokens; every row of one batch has nearly one length."""
    encoder = ChatEncoder(tokenizer)
    waiting: dict[int, list[tuple[list[int], list[bool]]]] = {length: [] for length in LENGTHS}
    while True:
        for ids, mask in encoder([next(rows) for _ in range(256)]):
            length = next((n for n in LENGTHS if len(ids) <= n + 1), None)
            if length is None:
                continue  # longer than any shape; the world makes none
            waiting[length].append((ids, mask))
            if len(waiting[length]) == batch_tokens // length:
                yield collate(waiting[length], length, encoder.pad)
                waiting[length] = []


def collate(rows: list[tuple[list[int], list[bool]]], length: int, pad: int) -> Batch:
    """Pads on the right; labels are the next ids."""
    ids = torch.full((len(rows), length + 1), pad)
    answers = torch.zeros(len(rows), length + 1, dtype=torch.bool)
    for i, (row, mask) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        answers[i, : len(row)] = torch.tensor(mask)
    targets = ids[:, 1:]
    text = torch.where(targets == pad, IGNORE, targets)
    return Batch(ids[:, :-1], text, torch.where(answers[:, 1:], targets, IGNORE))
