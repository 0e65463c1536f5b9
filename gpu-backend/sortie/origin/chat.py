"""OpenAI's `/v1/chat/completions` and `/v1/models` over the engine, for use without an edge."""

from __future__ import annotations

import hmac
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..data.encode import open_tokenizer
from ..engine.sequence import End, Token
from .answer import Answer, frame
from .app import Served, read_bounded
from .chat_schema import ChatRequest, exit_of, read_chat
from .protocol import MAX_JSON_BYTES, SSE_TYPE, GenerationRequest, Refusal, SamplingSchema, job_of
from .streaming import WatchedStream
from .text import Prompter, TextStream

SEED_LIMIT = 1 << 32


def chat_routes(served: Served, folder: Path, api_key: str) -> tuple[Route, ...]:
    """The routes. Raises UserError for a checkpoint without a tokenizer."""
    tokenizer = open_tokenizer(folder)
    prompter = Prompter(tokenizer)
    config = served.checkpoint.model.lm.generation_config
    ends = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    stop_ids = [ends] if isinstance(ends, int) else list(ends or [])
    name, exits = served.checkpoint.name, served.checkpoint.model.exits
    created = int(time.time())

    def authenticate(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), api_key.encode()):
            raise Refusal(401, "invalid_api_key", "The API key is missing or wrong.")

    async def models(request: Request) -> Response:
        authenticate(request)
        ids = [name, *(f"{name}:exit-{k}" for k in exits)]
        data = [{"id": i, "object": "model", "created": created, "owned_by": "sortie"} for i in ids]
        return JSONResponse({"object": "list", "data": data})

    async def chat(request: Request) -> Response:
        authenticate(request)
        body = await read_bounded(request)
        if len(body) > MAX_JSON_BYTES:
            raise Refusal(413, "body_too_large", f"JSON may have {MAX_JSON_BYTES} bytes.")
        asked = read_chat(body)
        identity = f"chatcmpl-{uuid.uuid4().hex}"
        generation = generation_of(asked, prompter([m.turn() for m in asked.messages]), identity, served, stop_ids)
        runner = served.origin.service.runner
        job = job_of(generation, exits, served.target.vocabulary, runner.context_length, served.usual)
        record = {"request_id": identity, "exit_layer": job.exit_layer, "prompt_tokens": len(job.token_ids)}
        answer = served.origin.open(job, None, record)
        head = {"id": identity, "created": int(time.time()), "model": asked.model}
        pieces = text_pieces(answer, TextStream(tokenizer, asked.stops))
        if asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            return WatchedStream(chunks(pieces, head, usage), answer.leave, SSE_TYPE, {"cache-control": "no-store"})
        return await whole(pieces, head)

    return (Route("/v1/models", models), Route("/v1/chat/completions", chat, methods=["POST"]))


def generation_of(
    asked: ChatRequest, ids: list[int], identity: str, served: Served, stop_ids: list[int]
) -> GenerationRequest:
    """The chat as a request of the engine. Raises Refusal 400, 404."""
    exit_layer = exit_of(asked.model, served.checkpoint.name, served.checkpoint.model.exits)
    room = served.origin.service.runner.context_length - len(ids)
    if room < 1:
        message = f"The prompt has {len(ids)} tokens; the context has {room + len(ids)}."
        raise Refusal(400, "context_length_exceeded", message, "messages")
    sampling = SamplingSchema(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=asked.top_p or 1.0,
        top_k=asked.top_k,
        min_p=asked.min_p,
        repetition_penalty=asked.repetition_penalty,
        presence_penalty=asked.presence_penalty or 0.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        seed=secrets.randbelow(SEED_LIMIT) if asked.seed is None else asked.seed % SEED_LIMIT,
    )
    return GenerationRequest(
        request_id=identity,
        token_ids=ids,
        exit_layer=exit_layer,
        max_tokens=asked.max_completion_tokens or asked.max_tokens or room,
        sampling=sampling,
        stop_token_ids=stop_ids,
        decoding=asked.decoding,
    )


async def text_pieces(answer: Answer, text: TextStream) -> AsyncIterator[str | dict[str, object] | None]:
    """Pieces of text, then `finish_reason` and `usage`; None where a ping is due. Leaves the answer at a stop text."""
    counts: dict[int, int] = {}
    prompt = answer.prompt_tokens
    reason, cached = "stop", 0
    async with aclosing(answer.events()) as events:
        async for event in events:
            if event is None:
                yield None
            elif isinstance(event, Token):
                counts[event.exit] = counts.get(event.exit, 0) + 1
                if piece := text.push(event.id):
                    yield piece
                if text.stopped:
                    break
            elif isinstance(event, End):
                reason, cached = event.finish_reason, event.cached_tokens
    if piece := text.flush():
        yield piece
    made = sum(counts.values())
    yield {
        "finish_reason": "stop" if text.stopped else reason,
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": made,
            "total_tokens": prompt + made,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
        "sortie": {"tokens_by_exit": {str(k): n for k, n in counts.items()}},
    }


async def whole(pieces: AsyncIterator[str | dict[str, object] | None], head: dict[str, object]) -> Response:
    """The answer as one object."""
    text, end = "", {}
    async with aclosing(pieces) as read:
        async for piece in read:
            if isinstance(piece, str):
                text += piece
            elif piece is not None:
                end = piece
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": end["finish_reason"], "logprobs": None}
    own = {"usage": end["usage"], "sortie": end["sortie"]}
    return JSONResponse(head | {"object": "chat.completion", "choices": [choice]} | own)


async def chunks(
    pieces: AsyncIterator[str | dict[str, object] | None], head: dict[str, object], usage: bool
) -> AsyncIterator[bytes]:
    """The answer as server-sent events; a failure in mid-stream is an `error` event."""
    head = head | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, object], reason: object = None) -> bytes:
        return frame(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]})

    try:
        yield chunk({"role": "assistant", "content": ""})
        async with aclosing(pieces) as read:
            async for piece in read:
                if piece is None:
                    yield b": ping\n\n"
                elif isinstance(piece, str):
                    yield chunk({"content": piece})
                else:
                    yield chunk({}, piece["finish_reason"])
                    if usage:
                        yield frame(head | {"choices": [], "usage": piece["usage"], "sortie": piece["sortie"]})
        yield b"data: [DONE]\n\n"
    except Refusal as refusal:
        yield frame(refusal.body())
