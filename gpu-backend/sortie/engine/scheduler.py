"""Continuous batching over exits: a step runs each segment of layers once, for the sequences that need it.

A step takes every running sequence as far as it may go: one token of an answer, a chunk of a prompt, drafts to be
verified, layers that an early exit left out. Sequences join and leave between steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..cache.prefix_cache import PrefixCache
from .admission import OVERTAKE, Line
from .choose import Choice, choose
from .decoding import EarlyExit, Speculative
from .pages import BLOCK_TOKENS
from .prefixes import Prefixes
from .ragged import RaggedBatch, Span
from .runner import Runner
from .sequence import End, Job, Sequence, State, Token

Listener = Callable[[Token | End], None]


@dataclass(eq=False)
class Running:
    """A sequence and who hears of its tokens. `paused` and `cancelled` are asked before every step.

    `dropped` is called once a cancelled sequence is no longer computed.
    """

    sequence: Sequence
    tell: Listener
    state: State | None = None
    paused: Callable[[], bool] = lambda: False
    cancelled: Callable[[], bool] = lambda: False
    dropped: Callable[[], None] = lambda: None


class Scheduler:
    """Waiting and running requests, and the step that moves them on. Not thread-safe: one thread owns it."""

    def __init__(
        self, runner: Runner, chunk_tokens: int, cache: PrefixCache | None = None, overtake: int = OVERTAKE
    ) -> None:
        """chunk_tokens: prompt tokens read in one step, all requests together; a multiple of 32.

        overtake: how many that came later may be admitted before a request; 0: first come, first served.
        """
        self.runner = runner
        self._prefixes = None if cache is None else Prefixes(cache, runner)
        self.exits = runner.model.exits
        self.chunk_tokens = max(BLOCK_TOKENS, chunk_tokens // BLOCK_TOKENS * BLOCK_TOKENS)
        self.waiting: Line[Running] = Line(overtake)
        self.running: list[Running] = []
        # Sequences that moved in the last step.
        self.last_batch = 0
        self._batch: RaggedBatch | None = None

    def submit(self, running: Running) -> None:
        """Adds a request; it is computed from some later step on."""
        self.waiting.join(running, running.sequence.job.exit_layer)

    @torch.inference_mode()
    def step(self) -> bool:
        """Moves everything on by one step. Returns whether anything could move."""
        self._drop_cancelled()
        self._admit()
        moving = {id(r): r for r in self.running if not r.paused()}
        allowed = self._allowances(list(moving.values()))
        work = [r for r in moving.values() if allowed[id(r)] > 0 or r.sequence.arrived is not None]
        self.last_batch = len(work)
        if not work:
            return False
        final = [r for r in work if r.sequence.arrived is not None]  # resumed at the very exit that is asked
        active = [r for r in work if r.sequence.arrived is None]
        self._batch = None
        for segment in range(len(self.exits)):
            through = [r for r in active if segment <= r.sequence.target]
            self._run(segment, [(r.sequence, min(allowed[id(r)], r.sequence.pending(segment))) for r in through])
            sure = self._ask(segment, through)
            done = [r for r in through if r.sequence.target == segment and r.sequence.arrived is not None]
            final += done
            active = [r for r in active if id(r) not in sure and r not in done]
        self._decide(final)
        return True

    def _drop_cancelled(self) -> None:
        gone = [r for r in (*self.waiting, *self.running) if r.cancelled()]
        for running in gone:
            if running.sequence.row is None:
                self.waiting.leave(running)
            else:
                self._release(running)
            running.dropped()

    def _release(self, running: Running) -> None:
        self.running.remove(running)
        if self._prefixes is not None:
            self._prefixes.release(running.sequence)
        self.runner.pool.give(running.sequence.row)

    def _admit(self) -> None:
        """Lets requests in, in the line's order, while the pool has all the pages that the next one may need."""
        while (running := self.waiting.next()) is not None:
            sequence, job = running.sequence, running.sequence.job
            tokens = min(len(job.token_ids) + job.max_tokens, self.runner.context_length)
            row = self.runner.pool.take(job.exit_layer, tokens, self._hidden_bytes(job, tokens))
            if row is None:
                return
            self.waiting.admit()
            sequence.row = row
            sequence.started = time.monotonic()
            if running.state is not None:
                self._resume(sequence, running.state)
            if self._prefixes is not None and job.cache is not None:
                self._prefixes.admit(sequence, job.cache, running.state)
            running.state = None
            self.running.append(running)

    def _hidden_bytes(self, job: Job, tokens: int) -> int:
        """Bytes of hidden states that early exits may leave waiting before deeper segments."""
        boundaries = self.exits.index(job.exit_layer) if isinstance(job.decoding, EarlyExit) else 0
        return boundaries * tokens * self.runner.config.hidden_size * self.runner.dtype.itemsize

    def _resume(self, sequence: Sequence, state: State) -> None:
        """Puts what a sender has computed where this engine would have it."""
        runner, count = self.runner, state.positions
        rows = torch.full((count,), sequence.row, device=runner.device)
        places = runner.pool.places(rows, torch.arange(count, device=runner.device))
        for layer in range(state.exit_layer):
            keys, values = (t[layer].to(runner.device, runner.dtype) for t in (state.keys, state.values))
            runner.pool.write(layer, places[layer], keys, values)
        hidden = state.hidden.to(runner.device, runner.dtype)
        last = self.exits.index(state.exit_layer)
        sequence.cached = count if last == sequence.deepest else 0  # of what counts as cached no layer is computed
        for segment in range(last + 1):
            sequence.read[segment] = count
        if last < sequence.deepest:
            sequence.waiting[last + 1].append(hidden)
        elif count == len(sequence.ids):
            sequence.arrived = hidden[-1:]

    def _allowances(self, moving: list[Running]) -> dict[int, int]:
        """Tokens each sequence may move on by: all of a little, and of long prompts what the chunk has room for."""
        room, allowed = self.chunk_tokens, {}
        for running in moving:
            sequence = running.sequence
            backlog = sequence.backlog
            if backlog <= BLOCK_TOKENS:
                allowed[id(running)] = backlog
                continue
            if sequence.emitted > 0:  # layers that early exits left out: filled in when a token goes that deep
                allowed[id(running)] = self.chunk_tokens
                continue
            # Chunks end at multiples of 32, so that room is never used up by a few odd tokens.
            ragged = min(sequence.read[: sequence.target + 1]) % BLOCK_TOKENS
            granted = backlog if backlog <= room else max(0, room // BLOCK_TOKENS * BLOCK_TOKENS - ragged)
            allowed[id(running)] = granted
            room -= granted
        return allowed

    def _run(self, segment: int, moves: list[tuple[Sequence, int]]) -> None:
        """Takes each sequence's next tokens through a segment, all in one batch."""
        moves = [(sequence, count) for sequence, count in moves if count > 0]
        if not moves:
            return
        spans = [Span(sequence.row, sequence.read[segment], count) for sequence, count in moves]
        # The next segment mostly takes the same tokens on.
        if self._batch is None or self._batch.spans != spans:
            self._batch = RaggedBatch.of(self.runner.pool, spans)
        batch = self._batch
        ordered = [moves[i] for i in batch.order]
        if segment == 0:
            hidden = self.runner.embed([i for s, count in ordered for i in s.ids[s.read[0] : s.read[0] + count]])
        else:
            hidden = torch.cat([rows for s, count in ordered for rows in s.enter(segment, count)])
        out = self.runner.run_segment(segment, hidden, batch)
        parts = out.split([count for _, count in ordered])
        for (sequence, _), rows in zip(ordered, parts, strict=True):
            sequence.leave(segment, rows)
            if self._prefixes is not None:
                self._prefixes.keep(sequence, segment)

    def _ask(self, segment: int, through: list[Running]) -> set[int]:
        """Early exit: tokens of sequences whose exit here is sure. Returns which those are; the others go deeper."""
        asked = []
        for running in through:
            sequence = running.sequence
            if sequence.arrived is None or segment == sequence.target:
                continue
            if sequence.threshold(segment) is None:
                sequence.arrived = None
            else:
                asked.append(running)
        sure: set[int] = set()
        if not asked:
            return sure
        for running, choices in zip(asked, self._choices(asked), strict=True):
            if choices[0].confidence > running.sequence.threshold(segment):
                sure.add(id(running))
                self._emit(running, choices, self.exits[segment])
            running.sequence.arrived = None
        return sure

    def _choices(self, asked: list[Running]) -> list[list[Choice]]:
        sequences = [r.sequence for r in asked]
        logits = self.runner.logits(torch.cat([s.arrived for s in sequences]))
        return choose(logits, sequences)

    def _decide(self, final: list[Running]) -> None:
        """Tokens, or drafts, of all sequences that have arrived where they were to; one run of the head for all."""
        if not final:
            return
        for running, choices in zip(final, self._choices(final), strict=True):
            sequence = running.sequence
            sequence.arrived = None
            if sequence.drafting:
                self._draft(sequence, choices[0].id)
            else:
                self._emit(running, self._verified(sequence, choices), sequence.job.exit_layer)

    def _draft(self, sequence: Sequence, guess: int) -> None:
        """Takes a guess; the deepest exit is asked next when there are enough, or the guess would end the answer."""
        if guess not in sequence.job.stop_token_ids:
            sequence.ids.append(guess)
            sequence.guesses.append(guess)
            sequence.drafted += 1
            if len(sequence.guesses) < self._most_drafts(sequence):
                return
        sequence.drafting = False

    def _most_drafts(self, sequence: Sequence) -> int:
        """Drafts wanted: the answer's last token needs none before it."""
        decoding = sequence.job.decoding
        left = sequence.job.max_tokens - sequence.emitted
        return min(decoding.drafts, left - 1) if isinstance(decoding, Speculative) else 0

    def _verified(self, sequence: Sequence, choices: list[Choice]) -> list[Choice]:
        """The choices that stand: all up to the first that differs from its guess, that one included."""
        agreed = 0
        while agreed < len(sequence.guesses) and sequence.guesses[agreed] == choices[agreed].id:
            agreed += 1
        sequence.accepted += agreed
        if sequence.guesses:
            sequence.crop(len(sequence.ids) - len(sequence.guesses) + agreed)
        return choices[: agreed + 1]

    def _emit(self, running: Running, choices: list[Choice], exit_layer: int) -> None:
        """Tells of tokens; ends the answer where one of them does. All but the last stand in `ids` already."""
        sequence, job = running.sequence, running.sequence.job
        guesses, sequence.guesses = len(choices) - 1, []
        sequence.first_token = sequence.first_token or time.monotonic()
        for at, choice in enumerate(choices):
            if choice.id in job.stop_token_ids:
                return self._finish(running, sequence.end("stop"))
            if at == guesses:
                sequence.ids.append(choice.id)
            sequence.take(choice.id, exit_layer)
            cached = sequence.cached_tokens if sequence.emitted == 1 else None
            running.tell(choice.token(exit_layer, cached))
            if sequence.emitted == job.max_tokens:
                return self._finish(running, sequence.end("length"))
        sequence.drafting = self._most_drafts(sequence) > 0
        return None

    def _finish(self, running: Running, end: End) -> None:
        self._release(running)
        running.tell(end)
