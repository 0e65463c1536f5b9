"""OpenAI's `/v1/chat/completions`, `/v1/completions` and `/v1/models` over the engine, for use without an edge."""

from __future__ import annotations

import hmac
import secrets
import time
import uuid
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from transformers import PreTrainedTokenizerFast

from ..data.encode import open_tokenizer
from .app import Served, read_bounded
from .chat_answer import CHAT, COMPLETION, Form, chunks, text_pieces, whole
from .chat_schema import Asked, ChatRequest, CompletionRequest, exit_of, read_body
from .protocol import SSE_TYPE, GenerationRequest, Refusal, SamplingSchema, job_of
from .streaming import WatchedStream
from .text import Prompter, TextStream

SEED_LIMIT = 1 << 32


def chat_routes(served: Served, folder: Path, api_key: str) -> tuple[Route, ...]:
    """The routes. Raises UserError for a checkpoint without a tokenizer."""
    tokenizer = open_tokenizer(folder)
    prompter = Prompter(tokenizer)
    stop_ids = stop_ids_of(served, tokenizer)
    created = int(time.time())

    def authenticate(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), api_key.encode()):
            raise Refusal(401, "invalid_api_key", "The API key is missing or wrong.")

    async def models(request: Request) -> Response:
        authenticate(request)
        name, exits = served.checkpoint.name, served.checkpoint.model.exits
        ids = [name, *(f"{name}:exit-{k}" for k in exits)]
        data = [{"id": i, "object": "model", "created": created, "owned_by": "sortie"} for i in ids]
        return JSONResponse({"object": "list", "data": data})

    async def chat(request: Request) -> Response:
        authenticate(request)
        asked = read_body(ChatRequest, await read_bounded(request))
        ids = prompter([message.turn() for message in asked.messages])
        most = asked.max_completion_tokens or asked.max_tokens
        return await respond(asked, ids, most, CHAT, request.headers.get("traceparent"))

    async def completion(request: Request) -> Response:
        authenticate(request)
        asked = read_body(CompletionRequest, await read_bounded(request))
        prompt = asked.prompt
        ids = prompt if isinstance(prompt, list) else tokenizer(prompt, split_special_tokens=True)["input_ids"]
        if not ids:
            raise Refusal(400, "request_invalid", "The prompt is empty.", "prompt")
        return await respond(asked, ids, asked.max_tokens, COMPLETION, request.headers.get("traceparent"))

    async def respond(asked: Asked, ids: list[int], most: int | None, form: Form, parent: str | None) -> Response:
        identity = f"{form.prefix}-{uuid.uuid4().hex}"
        generation = generation_of(asked, ids, most, identity, served, stop_ids)
        context = served.origin.service.runner.context_length
        job = job_of(generation, served.target.exits, served.target.vocabulary, context, served.usual)
        record = {"request_id": identity, "exit_layer": job.exit_layer, "prompt_tokens": len(job.token_ids)}
        answer = served.origin.open(job, None, record, parent)
        head = {"id": identity, "created": int(time.time()), "model": asked.model}
        pieces = text_pieces(answer, TextStream(tokenizer, asked.stops))
        if not asked.stream:
            return await whole(pieces, head, form)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        parts = chunks(pieces, head, form, usage)
        return WatchedStream(parts, answer.leave, SSE_TYPE, {"cache-control": "no-store"})

    return (
        Route("/v1/models", models),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completion, methods=["POST"]),
    )


def stop_ids_of(served: Served, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Ids that end an answer: the checkpoint's generation configuration, else the tokenizer."""
    ends = served.checkpoint.model.lm.generation_config.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or [])


def generation_of(
    asked: Asked, ids: list[int], most: int | None, identity: str, served: Served, stop_ids: list[int]
) -> GenerationRequest:
    """The request in the engine's words. most: `max_tokens`; None for all that fits. Raises Refusal 400, 404."""
    exit_layer = exit_of(asked.model, served.checkpoint.name, served.checkpoint.model.exits)
    context = served.origin.service.runner.context_length
    if len(ids) >= context:
        message = f"The prompt has {len(ids)} tokens; the context has {context}."
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
        max_tokens=most or context - len(ids),
        sampling=sampling,
        stop_token_ids=stop_ids,
        decoding=asked.decoding,
    )
