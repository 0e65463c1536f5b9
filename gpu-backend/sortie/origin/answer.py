"""One accepted request as a stream of events: asks the engine, times out a reader that stalls, frees its place."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from ..engine.sequence import End, Job, State, Token
from ..engine.service import Overloaded, Service
from .metrics import Metrics
from .protocol import PING_SECONDS, Refusal
from .tracing import AnswerTrace, Trace

log = logging.getLogger("sortie.origin")

FAILED = "The origin failed; its log says why."


class Origin:
    """The engine, its counters, and whether new requests are taken."""

    def __init__(self, service: Service, trace: Trace) -> None:
        """trace: told of every answer, for the trace that it belongs to."""
        self.service = service
        self.trace = trace
        self.metrics = Metrics(service)
        service.on_step = self.metrics.batch.observe
        self.draining = False
        # Set when the server ends before its answers do.
        self.ended = asyncio.Event()

    def open(self, job: Job, state: State | None, record: dict[str, object], parent: str | None) -> Answer:
        """Takes a place for a request. record: the beginning of its log line; parent: its `traceparent`.

        Raises Refusal 503 while draining, or when every place is taken.
        """
        if self.draining:
            raise Refusal(503, "origin_draining", "The origin is shutting down.")
        return Answer(self, job, state, record, parent)

    async def idle(self, seconds: float) -> None:
        """Waits until no request has a place, or patience is over."""
        deadline = time.monotonic() + seconds
        while self.service.in_flight > 0 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)


class Answer:
    """Events of one request. Iterate `events`; leaving it, however, frees the place and stops the compute."""

    def __init__(
        self, origin: Origin, job: Job, state: State | None, record: dict[str, object], parent: str | None
    ) -> None:
        self.prompt_tokens = len(job.token_ids) - job.answer_tokens
        self._origin = origin
        self._record = record | {"tokens": 0, "outcome": "cancelled"}
        self._parent = parent
        self._began = time.monotonic()
        self._start = time.time()
        self._end: End | None = None
        self._events: asyncio.Queue[Token | End | BaseException] = asyncio.Queue()
        loop, put = asyncio.get_running_loop(), self._events.put_nowait

        def hear(event: Token | End | BaseException) -> None:
            if isinstance(event, Token):
                origin.metrics.tokens.labels(str(event.exit)).inc()
            loop.call_soon_threadsafe(put, event)

        try:
            self._ticket = origin.service.submit(job, state, hear)
        except Overloaded:
            raise Refusal(503, "origin_overloaded", "The origin is busy.") from None
        if state is not None:
            origin.metrics.handoffs.inc()

    async def events(self) -> AsyncIterator[Token | End | None]:
        """Tokens, then the end; None where a ping is due. Raises Refusal when the engine fails or the server ends."""
        try:
            while True:
                event = await self._next()
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, End):
                    self._end = event
                    self._record["outcome"] = event.finish_reason
                    self._origin.metrics.answered(event)
                    self._record |= {"queue_ms": round(event.queue_ms), "prefill_ms": round(event.prefill_ms)}
                    self.leave()
                elif isinstance(event, Token):
                    self._record["tokens"] += 1
                    if self._record["tokens"] == 1:
                        self._record["first_token_ms"] = self._elapsed()
                yield event
                if isinstance(event, End):
                    return
                if event is not None:
                    self._ticket.taken()
        except Refusal:
            self._record["outcome"] = "failed"
            raise
        except Exception:
            self._record["outcome"] = "failed"
            log.exception("generate failed")
            raise Refusal(500, "origin_failed", FAILED) from None
        finally:
            self.leave()
            self._origin.metrics.requests.labels(str(self._record["outcome"])).inc()
            log.info(json.dumps(self._record | {"event": "generate", "total_ms": self._elapsed()}))
            self._origin.trace(self._traced())

    def leave(self) -> None:
        """Frees the place; whatever still computes stops."""
        self._ticket.leave()

    def _traced(self) -> AnswerTrace:
        record, end = self._record, self._end
        return AnswerTrace(
            self._parent,
            self._start * 1e3,
            self._start * 1e3 + self._elapsed(),
            {} if end is None else {"queue": end.queue_ms, "prefill": end.prefill_ms, "decode": end.decode_ms},
            {
                "sortie.request_id": record["request_id"],
                "sortie.exit": record["exit_layer"],
                "sortie.tier": "origin",
                "sortie.handoff.exit": record.get("handoff_exit"),
                "sortie.handoff.positions": record.get("handoff_positions"),
                "gen_ai.usage.input_tokens": record["prompt_tokens"],
                "gen_ai.usage.output_tokens": record["tokens"],
            },
            "the answer failed" if record["outcome"] == "failed" else None,
        )

    def _elapsed(self) -> int:
        return round((time.monotonic() - self._began) * 1e3)

    async def _next(self) -> Token | End | BaseException | None:
        """The next event, None when a ping is due first."""
        if not self._events.empty():
            return self._events.get_nowait()
        get = asyncio.ensure_future(self._events.get())
        end = asyncio.ensure_future(self._origin.ended.wait())
        try:
            done, _ = await asyncio.wait((get, end), timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if get in done:
                return get.result()
            if end in done:
                return Refusal(503, "origin_draining", "The origin is shutting down.")
            return None
        finally:
            get.cancel()
            end.cancel()


async def event_stream(answer: Answer) -> AsyncIterator[bytes]:
    """The answer as `sortie-origin/1` sends it; a failure in mid-stream is the last event."""
    try:
        async with aclosing(answer.events()) as events:
            async for event in events:
                yield b": ping\n\n" if event is None else frame(wire(event))
    except Refusal as refusal:
        yield frame(refusal.body())


def frame(value: object) -> bytes:
    """One `data:` event."""
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def wire(event: Token | End) -> dict[str, object]:
    """An event as `tokenEventSchema` has it."""
    if isinstance(event, End):
        return {
            "type": "end",
            "finish_reason": event.finish_reason,
            "usage": {
                "prompt_tokens": event.prompt_tokens,
                "cached_tokens": event.cached_tokens,
                "completion_tokens_by_exit": {str(k): n for k, n in event.tokens_by_exit.items()},
            },
            "timings": {
                "queue_ms": event.queue_ms,
                "prefill_ms": event.prefill_ms,
                "decode_ms": event.decode_ms,
            },
        }
    token: dict[str, object] = {"type": "token", "id": event.id, "logprob": event.logprob, "exit": event.exit}
    if event.cached_tokens is not None:
        token["cached_tokens"] = event.cached_tokens
    if event.top_logprobs is not None:
        token["top_logprobs"] = [{"id": i, "logprob": p} for i, p in event.top_logprobs]
    return token
