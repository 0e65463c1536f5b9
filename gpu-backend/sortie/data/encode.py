"""Rows to ids and the positions that carry loss, with any chat template."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ..errors import UserError
from .rows import BadRow, Chat, Row

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@dataclass(frozen=True)
class Encoded:
    """ids, and for each of them whether it is to be predicted (an answer and its end)."""

    ids: list[int]
    learnt: list[bool]


class Encoder:
    """A tokenizer that fits a model, and its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> None:
        """vocabulary: rows of the model's head. Raises UserError for a tokenizer that knows more ids than that."""
        if len(tokenizer) > vocabulary:
            raise UserError(
                f"the tokenizer has {len(tokenizer)} ids, the model {vocabulary}: it belongs to another checkpoint"
            )
        if tokenizer.eos_token_id is None:
            raise UserError("the tokenizer has no end-of-text token (eos_token in tokenizer_config.json)")
        self.tokenizer = tokenizer
        self.eos: int = tokenizer.eos_token_id
        # Nothing looks at padding, so any id will do where the tokenizer names none.
        self.pad: int = self.eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    def __call__(self, row: Row) -> Encoded:
        """Raises UserError where a chat comes without a template, or its template rewrites earlier turns."""
        if isinstance(row, Chat):
            return self._chat(row)
        ids = [*self.tokenizer(row.text, add_special_tokens=False)["input_ids"], self.eos]
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[0] != bos:
            ids.insert(0, bos)
        return Encoded(ids, [True] * len(ids))

    def _chat(self, chat: Chat) -> Encoded:
        text, spans = self._answers(chat)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        learnt = [any(a <= start < b for a, b in spans) for start, _ in encoded["offset_mapping"]]
        return Encoded(encoded["input_ids"], learnt)

    def _answers(self, chat: Chat) -> tuple[str, list[tuple[int, int]]]:
        """The chat as text, and where in it the assistant's turns stand: what follows the generation prompt."""
        if self.tokenizer.chat_template is None:
            raise UserError("the tokenizer has no chat template: pass --chat-template FILE (Jinja)")
        whole = self._render(chat.messages)
        spans = []
        for i, message in enumerate(chat.messages):
            if message["role"] != "assistant":
                continue
            before = self._render(chat.messages[:i], generation=True)
            after = self._render(chat.messages[: i + 1])
            if not (whole.startswith(after) and after.startswith(before)):
                raise UserError(
                    f"row {chat.number}: the chat template rewrites earlier turns, so the answer cannot be told from "
                    "the prompt; use one that only appends"
                )
            spans.append((len(before), len(after)))
        return whole, spans

    def _render(self, messages: list[dict[str, str]], generation: bool = False) -> str:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)

    def prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """The ids a model is asked with: messages and the generation prompt."""
        text = self._render(messages, generation=True)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def open_tokenizer(folder: Path, chat_template: Path | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint folder. Raises UserError where there is none."""
    if not (folder / "tokenizer.json").exists():
        raise UserError(f"{folder} has no tokenizer.json: pass --tokenizer DIR")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if chat_template is not None:
        tokenizer.chat_template = chat_template.read_text(encoding="utf-8")
    return tokenizer


def copy_tokenizer(source: Path, target: Path) -> None:
    """The tokenizer's files, as they are."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def encode_rows(encoder: Encoder, rows: Iterable[Row], length: int) -> tuple[list[Encoded], list[BadRow]]:
    """Rows of at most `length` + 1 ids (the last one is only predicted); the others as bad rows."""
    fitting: list[Encoded] = []
    bad: list[BadRow] = []
    for row in rows:
        encoded = encoder(row)
        if len(encoded.ids) > length + 1:
            bad.append(BadRow(row.number, f"{len(encoded.ids)} ids, more than --length {length}"))
        elif not any(encoded.learnt[1:]):
            bad.append(BadRow(row.number, "nothing to learn in it"))
        else:
            fitting.append(encoded)
    return fitting, bad
