"""The engine in a thread of its own: requests come from any thread, tokens are told from this one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..cache.prefix_cache import PrefixCache
from .admission import OVERTAKE
from .runner import Runner
from .scheduler import Running, Scheduler
from .sequence import End, Job, Sequence, State, Token

# Tokens that may be told and not yet taken: a reader that stops, stops its answer, and nobody else's.
WINDOW = 8
# Answers by a fresh engine before it takes requests: allocators, kernels and caches settle.
WARM_UP_TOKENS = 8

Hear = Callable[[Token | End | BaseException], None]


class Overloaded(Exception):
    """Every place is taken."""


class Ticket:
    """One request with a place. `leave` must be called, whatever became of it; more calls do nothing."""

    def __init__(self, service: Service, hear: Hear) -> None:
        self._service = service
        self._hear = hear
        # Events given and taken; each counter is written by one thread alone.
        self._told = self._taken = 0
        # Guarded by the service's lock: whether the reader is gone, and whether the engine has let go.
        self.left = self.over = False

    @property
    def paused(self) -> bool:
        """Whether the reader has yet to take as much as may be ahead of it."""
        return self._told - self._taken >= WINDOW

    def tell(self, event: Token | End) -> None:
        """From the engine: an event for the reader."""
        self._told += 1
        self._hear(event)
        if isinstance(event, End):
            self._service.let_go(self)

    def fail(self, cause: BaseException) -> None:
        """From the engine: there will be no end."""
        if not self.left and not self.over:
            self._hear(cause)

    def taken(self) -> None:
        """From the reader: an event is out."""
        self._taken += 1
        self._service.wake.set()

    def leave(self) -> None:
        """Frees the place; a request under way is dropped before the next step."""
        self._service.leave(self)


class Service:
    """Owns the scheduler and its thread."""

    def __init__(
        self,
        runner: Runner,
        places: int,
        chunk_tokens: int,
        cache: PrefixCache | None = None,
        overtake: int = OVERTAKE,
    ) -> None:
        """places: requests that may be running or waiting. chunk_tokens, overtake: as `Scheduler` has them."""
        self.runner = runner
        self.cache = cache
        self.places = places
        self.lock = threading.Lock()
        self.wake = threading.Event()
        self.failure: BaseException | None = None
        self.on_step: Callable[[int], None] = lambda batch: None
        self.on_failure: Callable[[BaseException], None] = lambda cause: None
        self._scheduler = Scheduler(runner, chunk_tokens, cache, overtake)
        self._incoming: deque[Running] = deque()
        self._tickets: set[Ticket] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def in_flight(self) -> int:
        """Requests with a place."""
        return len(self._tickets)

    @property
    def waiting(self) -> int:
        """Requests not yet admitted to the kvCache."""
        return len(self._incoming) + len(self._scheduler.waiting)

    def start(self) -> None:
        """Begins to compute what is asked."""
        self._thread.start()

    def submit(self, job: Job, state: State | None, hear: Hear) -> Ticket:
        """Takes a request; `hear` is called in the engine's thread. Raises Overloaded when every place is taken."""
        ticket = Ticket(self, hear)
        with self.lock:
            if self.failure is not None or len(self._tickets) >= self.places:
                raise Overloaded
            self._tickets.add(ticket)
        sequence = Sequence(job, self._scheduler.exits)
        self._incoming.append(
            Running(
                sequence,
                ticket.tell,
                state,
                paused=lambda: ticket.paused,
                cancelled=lambda: ticket.left,
                dropped=lambda: self.let_go(ticket),
            )
        )
        self.wake.set()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Frees a ticket's place, at once where the engine has let go of it, else after the step under way."""
        with self.lock:
            ticket.left = True
            if ticket.over or self.failure is not None:
                self._tickets.discard(ticket)
        self.wake.set()

    def let_go(self, ticket: Ticket) -> None:
        """From the engine: nothing more is computed for a ticket. Frees its place if its reader is gone."""
        with self.lock:
            ticket.over = True
            if ticket.left:
                self._tickets.discard(ticket)

    def close(self) -> None:
        """Ends the thread after the step under way."""
        self._closing = True
        self.wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing:
                self.wake.clear()
                while self._incoming:
                    self._scheduler.submit(self._incoming.popleft())
                if self._scheduler.step():
                    self.on_step(self._scheduler.last_batch)
                else:
                    self.wake.wait()
        except BaseException as cause:  # noqa: BLE001 - whatever ends the thread must reach every reader
            with self.lock:
                self.failure = cause
                tickets = list(self._tickets)
            for ticket in tickets:
                ticket.fail(cause)
            self.on_failure(cause)


def warm_up(runner: Runner, chunk_tokens: int) -> float:
    """Answers a prompt at every exit. Returns prompt tokens per second through all layers, at the second reading."""
    scheduler = Scheduler(runner, chunk_tokens)
    length = min(2 * scheduler.chunk_tokens, runner.context_length - WARM_UP_TOKENS)
    rate = 0.0
    for exit_layer in (*runner.model.exits, runner.model.depth):
        events: list[Token | End] = []
        job = Job([0] * length, exit_layer, WARM_UP_TOKENS)
        scheduler.submit(Running(Sequence(job, scheduler.exits), events.append))
        while scheduler.step():
            pass
        rate = length / max(events[-1].prefill_ms, 1e-3) * 1e3
    return rate
