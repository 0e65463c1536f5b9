"""One request while it is computed: its tokens, how far every segment has read them, and what waits in between."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..cache.keys import Owner
from .decoding import Decoding, EarlyExit, Plain, Speculative
from .sampler import Sampling, Seen
from .trail import Trail


@dataclass(frozen=True)
class Job:
    """What is asked: `token_ids` hold the prompt, their last `answer_tokens` an answer begun elsewhere."""

    token_ids: list[int]
    exit_layer: int
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    answer_tokens: int = 0
    top_logprobs: int = 0
    stop_token_ids: frozenset[int] = frozenset()
    decoding: Decoding = field(default_factory=Plain)
    # Whose blocks of the prefix cache are read and left; None: none are.
    cache: Owner | None = None


@dataclass(frozen=True)
class State:
    """Layers 1..exit_layer of the first T tokens, as a handoff or a cache brings it.

    hidden [T, d] after the exit, keys and values [exit_layer, T, Hkv·Dh]; any float type, on the CPU. own: made by the
    arithmetic of the engine that resumes it. inner: hidden states [T, d] at inner exits, by layer; for the cache alone.
    """

    exit_layer: int
    hidden: Tensor
    keys: Tensor
    values: Tensor
    own: bool = True
    inner: dict[int, Tensor] = field(default_factory=dict)

    @property
    def positions(self) -> int:
        """T."""
        return self.hidden.shape[0]


@dataclass(frozen=True)
class Token:
    """A token of the answer. logprob: of the unpenalised distribution at temperature 1.

    cached_tokens: with the first token, what `End` will say.
    """

    id: int
    logprob: float
    exit: int
    top_logprobs: list[tuple[int, float]] | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True)
class End:
    """The answer's end and what it took; times in milliseconds."""

    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    cached_tokens: int
    tokens_by_exit: dict[int, int]
    queue_ms: float
    prefill_ms: float
    decode_ms: float
    drafted: int = 0
    accepted: int = 0


class Sequence:
    """The state of one job over the segments of a nested model.

    Position p of segment s has its keys and values in the pool when p < read[s]. Hidden states that have left segment
    s-1 and not yet entered s wait in `waiting[s]`.
    """

    def __init__(self, job: Job, exits: tuple[int, ...]) -> None:
        self.job = job
        self.ids = list(job.token_ids)
        self.exits = exits
        self.deepest = exits.index(job.exit_layer)
        self.read = [0] * (self.deepest + 1)
        self.waiting: list[list[Tensor]] = [[] for _ in range(self.deepest + 1)]
        # Rows that have arrived at the segment asked, [n, d]: the last position's, or all to be verified.
        self.arrived: Tensor | None = None
        self.guesses: list[int] = []
        # Whether the draft exit is asked next, not the deepest.
        self.drafting = False
        self.seen = Seen(set(job.token_ids))
        for token in job.token_ids[self.prompt_tokens :]:
            self.seen.answer[token] = self.seen.answer.get(token, 0) + 1
        self.row: int | None = None
        # What the prefix cache will keep; None: nothing.
        self.trail: Trail | None = None
        self.cached = 0
        self.tokens_by_exit: dict[int, int] = {}
        self.drafted = self.accepted = 0
        self.entered = time.monotonic()
        self.started = self.entered
        self.first_token: float | None = None

    @property
    def emitted(self) -> int:
        """Tokens of the answer so far."""
        return sum(self.tokens_by_exit.values())

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, without those of an answer begun elsewhere."""
        return len(self.job.token_ids) - self.job.answer_tokens

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens whose layers up to the exit were there already, from a handoff or the prefix cache."""
        return min(self.cached, self.prompt_tokens)

    @property
    def target(self) -> int:
        """The segment whose end is asked for the next decision, unless an earlier exit is sure."""
        decoding = self.job.decoding
        if self.drafting and isinstance(decoding, Speculative):
            return self.exits.index(decoding.draft_exit)
        return self.deepest

    def threshold(self, segment: int) -> float | None:
        """What a probability must exceed to stop after a segment; None where the exit is not asked."""
        decoding = self.job.decoding
        if segment == self.deepest or not isinstance(decoding, EarlyExit):
            return None
        value = decoding.thresholds.get(self.exits[segment])
        return None if value is None or value >= 1 else value  # no probability is above 1

    def pending(self, segment: int) -> int:
        """Tokens that could enter a segment now."""
        return (len(self.ids) if segment == 0 else self.read[segment - 1]) - self.read[segment]

    @property
    def backlog(self) -> int:
        """The most tokens that a segment on the way to the target has yet to read."""
        return max(len(self.ids) - self.read[segment] for segment in range(self.target + 1))

    def enter(self, segment: int, count: int) -> list[Tensor]:
        """Takes the oldest `count` rows that wait before a segment from 1 on."""
        taken, rows = [], self.waiting[segment]
        while count > 0:
            size = rows[0].shape[0]  # `len` of a tensor is several times as slow, and this runs for every row
            if size <= count:
                taken.append(rows.pop(0))
            else:
                taken.append(rows[0][:count])
                rows[0] = rows[0][count:]
            count -= size
        return taken

    def leave(self, segment: int, hidden: Tensor) -> None:
        """hidden [n, d]: the rows that have just gone through a segment."""
        self.read[segment] += hidden.shape[0]
        if self.trail is not None:
            self.trail.add(segment, hidden)
        if segment < self.deepest:
            self.waiting[segment + 1].append(hidden)
        if self.read[segment] == len(self.ids):
            wanted = 1 + (len(self.guesses) if segment == self.deepest else 0)
            self.arrived = hidden[-wanted:]

    def pass_over(self, segment: int, hidden: Tensor) -> None:
        """hidden [n, d]: what a segment that has read nothing makes of the first n tokens; the pool has the rest."""
        if segment > 0:
            self.enter(segment, len(hidden))
        self.read[segment] = len(hidden)
        if segment < self.deepest:
            self.waiting[segment + 1].append(hidden)
        elif len(hidden) == len(self.ids):
            self.arrived = hidden[-1:]

    def crop(self, length: int) -> None:
        """Forgets all tokens from `length` on."""
        del self.ids[length:]
        for segment in range(len(self.read)):
            rows = self.waiting[segment]
            if segment > 0 and rows:
                kept = torch.cat(rows)[: max(0, length - self.read[segment])]
                self.waiting[segment] = [kept] if len(kept) else []
            self.read[segment] = min(self.read[segment], length)
        if self.trail is not None:
            self.trail.crop(length)

    def take(self, token: int, exit_layer: int) -> None:
        """Counts a token of the answer that stands in `ids` already."""
        self.seen.add(token)
        self.tokens_by_exit[exit_layer] = self.tokens_by_exit.get(exit_layer, 0) + 1

    def end(self, reason: Literal["stop", "length"]) -> End:
        """The last event."""
        now = time.monotonic()
        first = self.first_token or now
        return End(
            reason,
            self.prompt_tokens,
            self.cached_tokens,
            dict(self.tokens_by_exit),
            (self.started - self.entered) * 1e3,
            (first - self.started) * 1e3,
            (now - first) * 1e3,
            self.drafted,
            self.accepted,
        )
