"""More requests than there is room for: what it is worth, in the same room, that half of them stop at half depth.

Room is a number of rows, or bytes of the kvCache. All are asked at once; each way lets them in by a rule of its own.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from ..engine.admission import OVERTAKE
from ..engine.pages import blocks_of
from ..engine.runner import Runner
from ..engine.scheduler import Scheduler
from ..engine.sequence import End
from .report import digits, table
from .subject import CACHE_BYTES, CHUNK_TOKENS, Bench

# Requests asked for each that there is room for at full depth. Half of them fill that room four times, the others, at
# half depth, twice the rows twice: a room that the last ones leave half empty would count against them.
CROWD = 8
# Lengths of answers as shares of --tokens, their mean 1.
EVEN, UNEVEN = (1.0,), (0.5, 0.75, 1.0, 1.25, 1.5)
FULL = "all at full depth"
# What requests may share, by its name on the command line.
ROOMS = ("rows", "kvcache", "uneven")


@dataclass(frozen=True)
class Room:
    """What the requests share. shares: the lengths of their answers."""

    name: str
    runner: Runner
    shares: tuple[float, ...]


@dataclass
class Heard:
    """Of one way, all rounds."""

    # Of each round.
    seconds: list[float] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens a second of the median round."""
        tokens = sum(sum(end.tokens_by_exit.values()) for end in self.ends) / len(self.seconds)
        return tokens / statistics.median(self.seconds)

    def times(self, other: Heard) -> float:
        """How many times as fast as another way: the median of rounds, both of the same round."""
        return statistics.median(theirs / ours for ours, theirs in zip(self.seconds, other.seconds, strict=True))

    def first_token(self, exit_layer: int) -> str:
        """Seconds to the first token of an exit's requests: 50th and 95th percentile."""
        waits = sorted((end.queue_ms + end.prefill_ms) / 1e3 for end in self.ends if exit_layer in end.tokens_by_exit)
        return f"{digits(waits[len(waits) // 2])} / {digits(waits[len(waits) * 95 // 100])}" if waits else ""


def rooms(bench: Bench, places: int) -> dict[str, Room]:
    """So many rows; the bytes of so many requests at full depth, for answers of one length and of several: `ROOMS`."""
    config, context = bench.model.lm.config, bench.runner.context_length
    config.max_position_embeddings = bench.prompt + round(max(UNEVEN) * bench.tokens)
    pages = 1 + places * bench.model.depth * blocks_of(bench.prompt + bench.tokens)
    in_rows = Runner(bench.model, places, CACHE_BYTES[bench.runner.device.type])
    in_bytes = Runner(bench.model, CROWD * places, pages * bench.runner.pool.shape.page_bytes)
    config.max_position_embeddings = context
    all_rooms = (
        Room(f"{places} rows", in_rows, EVEN),
        Room(f"kvCache of {places}", in_bytes, EVEN),
        Room(f"kvCache of {places}, uneven answers", in_bytes, UNEVEN),
    )
    return dict(zip(ROOMS, all_rooms, strict=True))


def hear(bench: Bench, room: Room, ways: dict[str, tuple[list[int], int]], rounds: int) -> dict[str, Heard]:
    """Each way (exits, most overtakings) once a round, every other one in reversed order; one way first, to warm up."""
    heard = {name: Heard() for name in ways}

    def run(name: str) -> tuple[float, list[End]]:
        exits, most = ways[name]
        scheduler = Scheduler(room.runner, CHUNK_TOKENS, overtake=most)
        return bench.run(exits, scheduler=scheduler, shares=room.shares)

    run(FULL)
    for number in range(rounds):
        for name in reversed(ways) if number % 2 else ways:
            took, ends = run(name)
            heard[name].seconds.append(took)
            heard[name].ends += ends
    return heard


def crowd(bench: Bench, names: list[str], places: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Prints a table for each room named. Returns by room and way: tokens a second, and times `FULL`'s."""
    deepest, half, results = bench.exits[-1], bench.half, {}
    waits = [f"exit {k}: s to first token, p50 / p95" for k in (half, deepest)]
    asked = CROWD * places
    all_rooms = rooms(bench, places)
    for room in (all_rooms[name] for name in names):
        mixed = [half if at % 2 else deepest for at in range(asked)]
        ways = {FULL: ([deepest] * asked, 0), "half at half, first come": (mixed, 0)}
        ways |= {
            f"half at half, overtaken {most} times": (mixed, most) for most in sorted({min(OVERTAKE, asked), asked})
        }
        heard = hear(bench, room, ways, rounds)
        full = heard[FULL]
        results[room.name] = {
            name: {"tokens_per_second": of.rate, "times": of.times(full)} for name, of in heard.items()
        }
        rows = [
            [name, of.rate, of.times(full), of.first_token(half), of.first_token(deepest)] for name, of in heard.items()
        ]
        print(table([f"{room.name}, {asked} asked", "tokens/s", "times", *waits], rows), end="\n\n", flush=True)
    return results
