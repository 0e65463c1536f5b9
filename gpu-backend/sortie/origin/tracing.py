"""An answer as spans that go on the Worker's trace, sent as OTLP/HTTP JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

As src/origin/server-tracing.ts and src/telemetry/otlp.ts; W3C trace context (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Full, Queue
from urllib.parse import urljoin
from urllib.request import Request, urlopen

log = logging.getLogger("sortie.origin")

# As OpenTelemetry's own variable: the collector's base address, e.g. http://127.0.0.1:4318.
OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE = "sortie-origin"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
# OTLP's numbers for kinds and states.
INTERNAL, SERVER = 1, 2
STATUS_ERROR = 2
# Answers whose spans may wait for the collector, and seconds it may take: beyond that they are lost.
MOST_WAITING = 256
TIMEOUT_SECONDS = 10.0

Attributes = Mapping[str, str | int | None]


@dataclass(frozen=True)
class AnswerTrace:
    """parent: the request's `traceparent`, if any. Times in milliseconds since 1970. phases: name → milliseconds."""

    parent: str | None
    start: float
    end: float
    phases: Mapping[str, float]
    attributes: Attributes
    error: str | None


Trace = Callable[[AnswerTrace], None]


def parse_traceparent(header: str | None) -> tuple[str, str] | None:
    """Ids of a trace and a span; None for what is no traceparent of version 00."""
    match = TRACEPARENT.fullmatch(header or "")
    known = match is not None and int(match[1], 16) > 0 and int(match[2], 16) > 0
    return (match[1], match[2]) if known else None


def answer_spans(trace: AnswerTrace) -> list[dict[str, object]]:
    """A span of the whole, and of each phase that the engine timed, one after the other."""
    context = parse_traceparent(trace.parent)
    trace_id, parent = context or (secrets.token_hex(16), None)
    whole_id = secrets.token_hex(8)

    def span(span_id: str, parent_id: str | None, name: str, kind: int, start: float, end: float) -> dict[str, object]:
        ids = {"traceId": trace_id, "spanId": span_id} | ({} if parent_id is None else {"parentSpanId": parent_id})
        times = {"startTimeUnixNano": nanoseconds(start), "endTimeUnixNano": nanoseconds(end)}
        return ids | {"name": name, "kind": kind} | times | {"attributes": []}

    whole = span(whole_id, parent, "generate", SERVER, trace.start, trace.end)
    whole["attributes"] = [
        {"key": key, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}
        for key, value in trace.attributes.items()
        if value is not None
    ]
    if trace.error is not None:
        whole["status"] = {"code": STATUS_ERROR, "message": trace.error}
    spans, at = [whole], trace.start
    for name, took in trace.phases.items():
        start, at = at, min(at + took, trace.end)
        spans.append(span(secrets.token_hex(8), whole_id, name, INTERNAL, start, at))
    return spans


def nanoseconds(milliseconds: float) -> str:
    """64-bit numbers are text in OTLP's JSON."""
    return str(round(milliseconds) * 1_000_000)


def trace_exporter(endpoint: str | None) -> Trace:
    """Sends answers' spans from a thread of its own; None: sends nothing. Never fails, never waits."""
    if endpoint is None:
        return lambda trace: None
    waiting: Queue[AnswerTrace] = Queue(MOST_WAITING)

    def send_all() -> None:
        while True:
            try:
                export(endpoint, answer_spans(waiting.get()))
            except Exception as error:  # noqa: BLE001 - a collector that is gone must not harm an answer
                lost(str(error))

    def tell(trace: AnswerTrace) -> None:
        try:
            waiting.put_nowait(trace)
        except Full:
            lost("the collector is too slow")

    threading.Thread(target=send_all, name="otlp", daemon=True).start()
    return tell


def lost(why: str) -> None:
    """Spans that no collector will have."""
    log.warning(json.dumps({"event": "spans-lost", "error": why}))


def export(endpoint: str, spans: list[dict[str, object]]) -> None:
    """Raises what `urlopen` does, when the collector does not take them."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": SERVICE}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "sortie"}, "spans": spans}]}]}
    headers = {"content-type": "application/json"}
    request = Request(urljoin(endpoint, "/v1/traces"), json.dumps(body).encode(), headers)
    with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        response.read()
