"""Text at the engine's rim: chats to ids, and ids back to text as they come."""

from __future__ import annotations

import re

from transformers import PreTrainedTokenizerFast

from .protocol import Refusal

# Noncharacters, which no text has a use for: they mark where a control token was spelt by a user.
MARK, MARK_END = "\ufdd0", "\ufdd1"
REPLACEMENT = "\ufffd"


class Prompter:
    """Conversations to ids. What a user writes is text, even where it spells a control token."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._control = sorted(map(str, tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
        self._spelt = re.compile("|".join(map(re.escape, self._control))) if self._control else None
        self._marks = re.compile(f"{MARK}(\\d+){MARK_END}")

    def __call__(self, turns: list[dict[str, str]]) -> list[int]:
        """Messages and the generation prompt as ids. Raises Refusal 400 where the template takes no such chat."""
        marked = [turn | {"content": self._mark(turn["content"])} for turn in turns]
        try:
            text = self._tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            raise Refusal(400, "request_invalid", f"The chat template refuses this: {error}.", "messages") from None
        ids: list[int] = []
        for at, part in enumerate(self._marks.split(text)):
            spelt = at % 2 == 1
            ids += self._tokenizer(
                self._control[int(part)] if spelt else part, add_special_tokens=False, split_special_tokens=spelt
            )["input_ids"]
        return ids

    def _mark(self, text: str) -> str:
        clean = text.replace(MARK, REPLACEMENT).replace(MARK_END, REPLACEMENT)
        if self._spelt is None:
            return clean
        return self._spelt.sub(lambda match: f"{MARK}{self._control.index(match[0])}{MARK_END}", clean)


class TextStream:
    """Ids to pieces of text, held back while a character or a stop text may still be completed."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stops: list[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._ids: list[int] = []
        # Ids before `_start` are out; decoding begins there, since a token's text depends on the one before it.
        self._start = self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is certain now."""
        self._ids.append(token)
        before = self._decode(self._start, self._read)
        now = self._decode(self._start, len(self._ids))
        if now.endswith(REPLACEMENT) or len(now) <= len(before):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return self._release(now[len(before) :])

    def flush(self) -> str:
        """What was held back, at the answer's end."""
        if self.stopped:
            return ""
        rest = self._decode(self._start, len(self._ids))[len(self._decode(self._start, self._read)) :]
        text = self._release(rest) + self._held
        self._held = ""
        return text

    def _decode(self, start: int, end: int) -> str:
        return self._tokenizer.decode(
            self._ids[start:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _release(self, piece: str) -> str:
        """Text up to the first stop text, or to where one may begin."""
        text, self._held = self._held + piece, ""
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            return text[: min(found)]
        keep = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Characters at the text's end that begin a stop text."""
        return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
