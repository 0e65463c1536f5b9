"""Answers and likelihoods of every exit, many rows at a time."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig

from ..data.encode import Encoder
from ..data.packing import collate
from ..data.rows import Chat
from ..losses import exit_losses
from ..nested import NestedModel, truncate
from .items import Item

BATCH_ROWS = 64
MOST_ANSWER_TOKENS = 64


@torch.inference_mode()
def greedy_answers(
    model: NestedModel, encoder: Encoder, items: list[Item], exit_layer: int, most: int = MOST_ANSWER_TOKENS
) -> list[str]:
    """Greedy answers of one exit, by transformers' own `generate` on the exit's truncated model."""
    lm = truncate(model, exit_layer).lm.eval()
    lm.generation_config = GenerationConfig(
        max_new_tokens=most, do_sample=False, pad_token_id=encoder.pad, eos_token_id=encoder.eos
    )
    prompts = [encoder.prompt(item.messages) for item in items]
    order = sorted(range(len(items)), key=lambda i: len(prompts[i]))
    answers = [""] * len(items)
    for first in tqdm(range(0, len(order), BATCH_ROWS), desc=f"exit {exit_layer}"):
        part = order[first : first + BATCH_ROWS]
        ids, mask = left_padded([prompts[i] for i in part], encoder.pad)
        made = lm.generate(input_ids=ids.to(lm.device), attention_mask=mask.to(lm.device))
        for i, row in zip(part, made[:, ids.shape[1] :].tolist(), strict=True):
            answers[i] = encoder.tokenizer.decode(until(row, encoder.eos))
    return answers


def left_padded(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids [B, T] and their mask, prompts on the right."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    return ids, mask


def until(ids: list[int], end: int) -> list[int]:
    """Ids before the first end token."""
    return ids[: ids.index(end)] if end in ids else ids


@torch.inference_mode()
def answer_nll(model: NestedModel, encoder: Encoder, items: list[Item]) -> dict[int, list[float]]:
    """Mean negative log-likelihood of each item's reference and its end token, nats per token, at every exit."""
    model.eval()
    result: dict[int, list[float]] = {k: [] for k in model.exits}
    for item in tqdm(items, desc="likelihood"):
        chat = Chat(0, [*item.messages, {"role": "assistant", "content": item.reference}])
        encoded = encoder(chat)
        # The last answer alone: earlier turns are given.
        start = len(encoder.prompt(item.messages))
        row = replace(encoded, learnt=[kept and i >= start for i, kept in enumerate(encoded.learnt)])
        batch = collate([[row]], len(row.ids) - 1, encoder.pad)
        hidden = model.exit_hidden(batch.ids.to(model.lm.device))
        entropy, _ = exit_losses(model, hidden, batch.labels.to(model.lm.device))
        for k, loss in entropy.items():
            result[k].append(loss.item() / batch.learnt)
    return result
