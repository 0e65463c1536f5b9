"""The origin's routes: `sortie-origin/1`, and OpenAI's where a key for it is set."""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..engine.decoding import Decoding
from ..engine.sequence import Job, State
from .answer import FAILED, Origin, event_stream
from .blocks import answer_blocks
from .checkpoint import Checkpoint
from .handoff import Target, decode_handoff
from .protocol import (
    FINGERPRINT_HEADER,
    JSON_TYPE,
    MAX_BODY_BYTES,
    MAX_JSON_BYTES,
    PROTOCOL,
    SAFETENSORS_TYPE,
    SSE_TYPE,
    GenerationRequest,
    Refusal,
    job_of,
    read_request,
)
from .signing import NonceStore, Window, verify_body, verify_headers
from .streaming import WatchedStream

log = logging.getLogger("sortie.origin")


@dataclass(frozen=True)
class Served:
    """What the routes serve. usual: the decoding of requests that name none. numerics: handoffs that are resumed."""

    checkpoint: Checkpoint
    origin: Origin
    secret: bytes
    prefill_rate: float
    usual: Decoding
    numerics: tuple[str, ...]
    metrics_token: str | None = None

    @property
    def target(self) -> Target:
        """What a handoff must fit."""
        model, runner = self.checkpoint.model, self.origin.service.runner
        return Target(
            self.checkpoint.fingerprint,
            self.numerics,
            model.exits,
            runner.config.hidden_size,
            runner.kv_width,
            model.vocabulary,
            runner.config.num_key_value_heads,
        )


def create_app(served: Served, more: tuple[Route, ...] = (), window: Window | None = None) -> Starlette:
    """more: further routes, e.g. OpenAI's. window: where nonces are kept; default, in this process."""
    origin, target = served.origin, served.target
    nonces = window or NonceStore().window()

    async def signed(request: Request) -> bytes:
        return await read_signed(request, served.secret, nonces)

    async def health(_: Request) -> Response:
        if origin.draining:
            return JSONResponse({"status": "draining"}, 503)
        return JSONResponse({"status": "ok"})

    async def info(request: Request) -> Response:
        await signed(request)
        return JSONResponse(info_of(served))

    async def metrics(request: Request) -> Response:
        require_metrics_token(request, served.metrics_token)
        return Response(origin.metrics.render(), media_type="text/plain; version=0.0.4")

    async def blocks(request: Request) -> Response:
        await signed(request)
        answer = await answer_blocks(request, served.secret, origin.service.cache, target.exits)
        origin.metrics.blocks_answers.labels(str(answer.status_code == 200).lower()).inc()
        return answer

    async def generate(request: Request) -> Response:
        try:
            body = await signed(request)
            if request.headers.get(FINGERPRINT_HEADER, target.fingerprint) != target.fingerprint:
                message = f"This origin serves the checkpoint {target.fingerprint}."
                raise Refusal(404, "checkpoint_mismatch", message)
            asked, state = read_generate(body, request.headers.get("content-type", ""), target)
            job = job_of(asked, target.exits, target.vocabulary, origin.service.runner.context_length, served.usual)
            record = record_of(asked, job, state, len(body))
            answer = origin.open(job, state, record, request.headers.get("traceparent"))
        except Refusal:
            origin.metrics.requests.labels("refused").inc()
            raise
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return WatchedStream(event_stream(answer), answer.leave, SSE_TYPE, headers)

    routes = [
        Route("/healthz", health),
        Route("/v1/info", info),
        Route("/metrics", metrics),
        Route("/v1/blocks", blocks),
        Route("/v1/generate", generate, methods=["POST"]),
        *more,
    ]
    handlers = {Refusal: refused, HTTPException: unknown_path, Exception: failed}
    return Starlette(routes=routes, exception_handlers=handlers)


async def refused(request: Request, refusal: Refusal) -> Response:
    """A refusal in OpenAI's form."""
    line = {"event": "refusal", "path": request.url.path, "status": refusal.status, "code": refusal.code}
    # Every isolate asks once without knowing this start: no news.
    log.log(logging.INFO if refusal.code == "signature_boot_mismatch" else logging.WARNING, json.dumps(line))
    return JSONResponse(refusal.body(), refusal.status, refusal.headers())


async def unknown_path(request: Request, _: HTTPException) -> Response:
    """What starlette itself refuses: paths and methods."""
    return await refused(request, Refusal(404, "not_found", f"{PROTOCOL} has no such path."))


async def failed(request: Request, cause: Exception) -> Response:
    """Told dully; the log has the reason (uvicorn writes the stack)."""
    return await refused(request, Refusal(500, "origin_failed", FAILED))


def require_metrics_token(request: Request, token: str | None) -> None:
    """Prometheus cannot sign: it sends a token. Raises Refusal 401, or 404 where no token is set."""
    if token is None:
        raise Refusal(404, "not_found", "There are no metrics here: METRICS_TOKEN is not set.")
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(presented.strip().encode(), token.encode()):
        message = "Send METRICS_TOKEN in the Authorization header, as a bearer token."
        raise Refusal(401, "metrics_token_invalid", message)


async def read_signed(request: Request, secret: bytes, nonces: Window) -> bytes:
    """A request's body once its headers are proven. Raises Refusal 401, 413, 503."""
    headers: Mapping[str, str] = request.headers
    path = request.scope["raw_path"].decode("latin-1")
    if query := request.scope["query_string"].decode("latin-1"):
        path += f"?{query}"
    now = time.time_ns() // 1_000_000
    signed = verify_headers(secret, request.method, path, headers, now, nonces.boot)
    await nonces.remember(signed.nonce, signed.expires_at, now)
    body = await read_bounded(request)
    verify_body(body, signed.digest)
    return body


async def read_bounded(request: Request) -> bytes:
    """Raises Refusal 413 by the declared length where there is one."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "content_type_unsupported", "A body is sent without compression.")
    too_large = Refusal(413, "body_too_large", f"A body may have {MAX_BODY_BYTES} bytes.")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def read_generate(body: bytes, content_type: str, target: Target) -> tuple[GenerationRequest, State | None]:
    """JSON or a handoff. Raises Refusal 400, 413, 415."""
    kind = content_type.split(";")[0].strip().lower()
    if kind == SAFETENSORS_TYPE:
        return decode_handoff(body, target)
    if kind != JSON_TYPE:
        raise Refusal(415, "content_type_unsupported", f"A body is {JSON_TYPE} or {SAFETENSORS_TYPE}.")
    if len(body) > MAX_JSON_BYTES:
        raise Refusal(413, "body_too_large", f"JSON may have {MAX_JSON_BYTES} bytes.")
    return read_request(body), None


def info_of(served: Served) -> dict[str, object]:
    """`originInfoSchema`; `decoding` is this origin's own."""
    return {
        "protocol": PROTOCOL,
        "model": served.checkpoint.name,
        "fingerprint": served.checkpoint.fingerprint,
        "numerics": served.checkpoint.numerics,
        "handoff_numerics": list(served.numerics),
        "exits": list(served.checkpoint.model.exits),
        "context_length": served.origin.service.runner.context_length,
        "prefill_tokens_per_second": served.prefill_rate,
        "decoding": ["early_exit", "speculative"],
    }


def record_of(asked: GenerationRequest, job: Job, state: State | None, body_bytes: int) -> dict[str, object]:
    """The beginning of a request's log line: never text, never token ids."""
    return {
        "request_id": asked.request_id,
        "exit_layer": asked.exit_layer,
        "decoding": type(job.decoding).__name__,
        "prompt_tokens": len(asked.token_ids),
        "body_bytes": body_bytes,
        "handoff_exit": state.exit_layer if state else None,
        "handoff_positions": state.positions if state else None,
    }
