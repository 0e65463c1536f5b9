"""Spans of an answer; what is sent is held to OTLP by the conformance suite."""

from __future__ import annotations

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortie.origin.tracing import AnswerTrace, answer_spans, parse_traceparent, trace_exporter

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    "header",
    [None, "", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"01-{TRACE}-{SPAN}-01"],
)
def test_what_names_no_trace_begins_one(header: str | None) -> None:
    assert parse_traceparent(header) is None
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-00") == (TRACE, SPAN)


durations = st.floats(0, 1e7)


@given(durations, st.lists(durations, max_size=4))
def test_phases_follow_one_another_inside_the_whole(total: float, phases: list[float]) -> None:
    named = {str(at): took for at, took in enumerate(phases)}
    spans = answer_spans(AnswerTrace(None, 1.7e12, 1.7e12 + total, named, {"a": 1, "b": None}, "failed"))
    whole = spans[0]
    assert [attribute["key"] for attribute in whole["attributes"]] == ["a"]
    at = int(whole["startTimeUnixNano"])
    for span in spans[1:]:
        assert (span["traceId"], span["parentSpanId"]) == (whole["traceId"], whole["spanId"])
        assert at == int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) <= int(whole["endTimeUnixNano"])
        at = int(span["endTimeUnixNano"])


def test_a_collector_that_is_gone_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    tell = trace_exporter("http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "sortie.origin"):
        tell(AnswerTrace(None, 0, 1, {}, {}, None))
        deadline = time.monotonic() + 5
        while "spans-lost" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "spans-lost" in caplog.text
