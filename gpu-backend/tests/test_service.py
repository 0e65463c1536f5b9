"""The engine in its thread: places, readers that leave at any moment, readers that are slow."""

from __future__ import annotations

import queue
import threading
import time
from random import Random

import pytest
from conftest import EXITS

from sortie.cache.prefix_cache import PrefixCache
from sortie.engine.runner import Runner
from sortie.engine.sequence import End, Job, Token
from sortie.engine.service import WINDOW, Overloaded, Service
from sortie.nested import NestedModel
from sortie.origin.metrics import Metrics

PLACES = 12


@pytest.fixture
def service(model: NestedModel):
    made = Service(Runner(model, 4, 4 << 20), PLACES, 32)
    made.start()
    yield made
    made.close()
    assert made.failure is None


def read(service: Service, rng: Random, outcomes: list[str]) -> None:
    """One request; it is read to its end, or left after some tokens."""
    events: queue.Queue[Token | End] = queue.Queue()
    leave_after = rng.choice([None, None, 0, 1, 3, 12, 13])
    job = Job([5, 6, 7], rng.choice(EXITS), 12)
    try:
        ticket = service.submit(job, None, events.put)
    except Overloaded:
        outcomes.append("refused")
        return
    tokens = 0
    while tokens != leave_after:
        event = events.get(timeout=20)
        if isinstance(event, End):
            outcomes.append("answered")
            break
        tokens += 1
        ticket.taken()
    ticket.leave()
    ticket.leave()


def test_no_place_is_lost_and_nobody_is_stuck(service: Service) -> None:
    """Two races were here: a reader that left while its answer ended, and a count that two threads wrote."""
    outcomes: list[str] = []

    def client(seed: int) -> None:
        rng = Random(seed)
        for _ in range(40):
            read(service, rng, outcomes)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert outcomes.count("answered") > 50
    deadline = time.monotonic() + 5
    while service.in_flight > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.in_flight == 0


def test_a_reader_that_takes_nothing_pauses_its_answer_alone(service: Service) -> None:
    slow: list[Token | End] = []
    ticket = service.submit(Job([5, 6], 4, 50), None, slow.append)
    outcomes: list[str] = []
    for seed in range(10):
        read(service, Random(seed), outcomes)
    assert len(slow) == WINDOW
    ticket.leave()


def test_more_than_the_places_are_refused(service: Service) -> None:
    tickets = [service.submit(Job([5], 4, 100), None, lambda _: None) for _ in range(PLACES)]
    with pytest.raises(Overloaded):
        service.submit(Job([5], 4, 1), None, lambda _: None)
    for ticket in tickets:
        ticket.leave()


def test_blocks_that_went_are_a_counter(model: NestedModel) -> None:
    service = Service(Runner(model, 4, 4 << 20), PLACES, 32, PrefixCache("f", "fp32", 1 << 20))
    service.cache.memory.evicted += 3
    text = Metrics(service).render().decode()
    assert "# TYPE sortie_origin_cache_evicted_total counter\nsortie_origin_cache_evicted_total 3.0\n" in text
