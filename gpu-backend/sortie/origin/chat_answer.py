"""An answer's events as text, and text in OpenAI's two forms, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from ..engine.sequence import End, Token
from .answer import Answer, frame
from .protocol import Refusal
from .text import TextStream


@dataclass(frozen=True)
class Piece:
    """Text that is certain now, and the ids that have come since the last piece."""

    text: str
    ids: list[int]


@dataclass(frozen=True)
class Finish:
    """The answer's end in OpenAI's words; tokens_by_exit is this origin's own."""

    reason: str
    usage: dict[str, object]
    tokens_by_exit: dict[str, int]


@dataclass(frozen=True)
class Form:
    """`chat`: messages and deltas; else plain text."""

    prefix: str
    whole_object: str
    chunk_object: str
    chat: bool

    def choice(self, piece: Piece | None, reason: str | None) -> dict[str, object]:
        """A choice of a chunk."""
        text = piece.text if piece else ""
        body = {"delta": {"content": text} if piece else {}} if self.chat else {"text": text}
        ids = {"token_ids": piece.ids if piece else []}
        return {"index": 0, **body, **ids, "finish_reason": reason, "logprobs": None}


CHAT = Form("chatcmpl", "chat.completion", "chat.completion.chunk", chat=True)
COMPLETION = Form("cmpl", "text_completion", "text_completion", chat=False)

Pieces = AsyncIterator[Piece | Finish | None]


async def text_pieces(answer: Answer, text: TextStream) -> Pieces:
    """Pieces of text, then the end; None where a ping is due. Leaves the answer at a stop text."""
    counts: dict[int, int] = {}
    ids: list[int] = []
    reason, cached = "stop", 0
    async with aclosing(answer.events()) as events:
        async for event in events:
            if event is None:
                yield None
            elif isinstance(event, Token):
                counts[event.exit] = counts.get(event.exit, 0) + 1
                cached = cached if event.cached_tokens is None else event.cached_tokens
                ids.append(event.id)
                if certain := text.push(event.id):
                    yield Piece(certain, ids)
                    ids = []
                if text.stopped:
                    break
            elif isinstance(event, End):
                reason, cached = event.finish_reason, event.cached_tokens
    rest = text.flush()
    if rest or ids:
        yield Piece(rest, ids)
    made = sum(counts.values())
    usage = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": made,
        "total_tokens": answer.prompt_tokens + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    yield Finish("stop" if text.stopped else reason, usage, {str(k): n for k, n in counts.items()})


async def whole(pieces: Pieces, head: dict[str, object], form: Form) -> Response:
    """The answer as one object."""
    text, finish = "", None
    async with aclosing(pieces) as read:
        async for piece in read:
            if isinstance(piece, Piece):
                text += piece.text
            elif isinstance(piece, Finish):
                finish = piece
    said = {"message": {"role": "assistant", "content": text, "refusal": None}} if form.chat else {"text": text}
    choice = {"index": 0, **said, "finish_reason": finish.reason, "logprobs": None}
    own = {"usage": finish.usage, "sortie": {"tokens_by_exit": finish.tokens_by_exit}}
    return JSONResponse(head | {"object": form.whole_object, "choices": [choice]} | own)


async def chunks(pieces: Pieces, head: dict[str, object], form: Form, usage: bool) -> AsyncIterator[bytes]:
    """The answer as server-sent events; a failure in mid-stream is an `error` event. usage: tell it at the end."""
    head = head | {"object": form.chunk_object}
    try:
        if form.chat:
            first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}
            yield frame(head | {"choices": [first]})
        async with aclosing(pieces) as read:
            async for piece in read:
                if piece is None:
                    yield b": ping\n\n"
                elif isinstance(piece, Piece):
                    yield frame(head | {"choices": [form.choice(piece, None)]})
                else:
                    yield frame(head | {"choices": [form.choice(None, piece.reason)]})
                    if usage:
                        own = {"usage": piece.usage, "sortie": {"tokens_by_exit": piece.tokens_by_exit}}
                        yield frame(head | {"choices": []} | own)
        yield b"data: [DONE]\n\n"
    except Refusal as refusal:
        yield frame(refusal.body())
