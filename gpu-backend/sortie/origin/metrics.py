"""The origin's counters (Prometheus). The first three names are part of `sortie-origin/1`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ..engine.sequence import End
from ..engine.service import Service

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class CountedElsewhere(Collector):
    """A counter whose value is asked for."""

    def __init__(self, name: str, text: str, value: Callable[[], float]) -> None:
        self._name, self._text, self._value = name, text, value

    def collect(self) -> Iterator[CounterMetricFamily]:
        """As the registry wants it."""
        yield CounterMetricFamily(self._name, self._text, value=self._value())


class Metrics:
    """One registry a server, so that tests may have several."""

    def __init__(self, service: Service) -> None:
        registry = self._registry = CollectorRegistry()

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"sortie_origin_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, value: Callable[[], float]) -> None:
            Gauge(f"sortie_origin_{name}", text, registry=registry).set_function(value)

        self.tokens = counter("tokens_computed", "Tokens computed for answers, by exit, sent or not.", ("exit",))
        gauge("requests_in_flight", "Requests being answered or waiting.", lambda: service.in_flight)
        gauge("requests_capacity", "Requests that may be answered or waiting.", lambda: service.places)
        gauge("requests_waiting", "Requests that wait for room in the kvCache.", lambda: service.waiting)
        self.requests = counter("requests", "Requests to generate, by outcome.", ("outcome",))
        self.handoffs = counter("handoffs", "Handoffs accepted.")
        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens of finished answers.", ("state",))
        self.blocks_answers = counter(
            "blocks_answers", "Requests for blocks of the prefix cache, by whether it held any.", ("held",)
        )
        if service.cache is not None:
            memory = service.cache.memory
            gauge("cache_bytes", "Bytes of blocks in the prefix cache.", lambda: memory.bytes)
            gauge("cache_blocks", "Blocks of one segment in the prefix cache.", lambda: memory.size)
            evicted = CountedElsewhere(
                "sortie_origin_cache_evicted", "Blocks that went to make room.", lambda: memory.evicted
            )
            registry.register(evicted)
        self.prefill_seconds = counter("prefill_seconds", "Seconds spent reading the prompts of finished answers.")
        self.decode_seconds = counter("decode_seconds", "Seconds spent writing finished answers.")
        self.drafted = counter("drafted_tokens", "Tokens drafted by a shallow exit.")
        self.accepted = counter("accepted_tokens", "Drafted tokens that the deeper exit agreed with.")
        self.batch = Histogram(
            "sortie_origin_batch_sequences", "Sequences a step moved on.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.tokens.labels("0").inc(0)  # the metric is there before the first token

    def answered(self, end: End) -> None:
        """Counts a finished answer."""
        self.prompt_tokens.labels("computed").inc(end.prompt_tokens - end.cached_tokens)
        self.prompt_tokens.labels("cached").inc(end.cached_tokens)
        self.prefill_seconds.inc(end.prefill_ms / 1e3)
        self.decode_seconds.inc(end.decode_ms / 1e3)
        self.drafted.inc(end.drafted)
        self.accepted.inc(end.accepted)

    def render(self) -> bytes:
        """The text of `GET /metrics`."""
        return generate_latest(self._registry)
