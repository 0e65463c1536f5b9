"""The prefix cache: bytes and names as src/cache has them, and answers that are none the worse for it."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
from dataclasses import replace
from random import Random

import pytest
import torch
from conftest import EXITS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import Answer, finish, mixed_jobs, scheduler, state_of
from test_origin_fixtures import FIXTURES

from sortie.cache.block import pack, seal, unpack
from sortie.cache.byte_lru import ByteLru
from sortie.cache.keys import BlockKey, KeyChain, Owner
from sortie.cache.prefix_cache import PrefixCache
from sortie.engine.decoding import EarlyExit, Plain, Speculative
from sortie.engine.sequence import Job
from sortie.nested import NestedModel

FIXTURE = json.loads((FIXTURES / "blocks.json").read_text())
OWNER = Owner("acme/0", 0)
PLENTY = 64 << 20


def cache(max_bytes: int = PLENTY) -> PrefixCache:
    return PrefixCache("0123456789abcdef", "fp32", max_bytes)


def test_keys_are_those_of_the_fixture_however_the_ids_grow() -> None:
    ids, maker = FIXTURE["ids"], FIXTURE["maker"]
    chain = KeyChain(maker["fingerprint"], maker["numerics"], Owner(**FIXTURE["owner"]))
    wanted = [BlockKey(**key) for key in FIXTURE["keys"]]
    assert chain.upto(ids[:40], 1) == wanted[:1]
    assert chain.upto(ids, 3) == wanted
    assert chain.upto(ids, 2) == wanted[:2]


def test_a_sealed_block_is_the_fixtures_byte_for_byte() -> None:
    shape, rows, label = FIXTURE["shape"], FIXTURE["rows"], FIXTURE["label"]
    hidden = torch.tensor(rows["hidden"]).view(32, shape["width"])
    keys, values = (torch.tensor(rows[part]).view(shape["layers"], 1, 32, -1) for part in ("keys", "values"))
    (row,) = pack(hidden, keys, values)
    sealed = seal(row, BlockKey("acme/0", label["key"]), label["lastLayer"])
    assert sealed == base64.b64decode(FIXTURE["sealed"]["F32"])
    for part, wanted in zip(unpack(row[None], shape["width"], shape["layers"]), (hidden, keys, values), strict=True):
        assert torch.equal(part, wanted)


def test_bfloat16_is_sealed_exactly() -> None:
    row = torch.randn(96).bfloat16()
    payload = seal(row, BlockKey("acme/0", "ab" * 32), 3)[80:]
    assert torch.equal(torch.frombuffer(bytearray(payload), dtype=torch.float32), row.float())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans()), max_size=80))
def test_memory_never_holds_more_than_its_bytes_and_forgets_what_was_used_longest_ago(moves: list) -> None:
    lru: ByteLru[int] = ByteLru(100, 1.0, lambda: 0.0)
    order: dict[str, tuple[int, int]] = {}
    for at, (number, size, is_put) in enumerate(moves):
        name = str(number)
        held = order.pop(name, None)
        if is_put:
            lru.put(name, at, size)
            order[name] = (at, size)
            while sum(size for _, size in order.values()) > 100:
                del order[next(iter(order))]
        else:
            assert lru.get(name) == (held[0] if held else None)
            if held:
                order[name] = held
        assert (lru.bytes, lru.size) == (sum(size for _, size in order.values()), len(order))


def test_memory_forgets_what_is_too_old_and_refuses_what_is_too_large() -> None:
    now = 0.0
    lru: ByteLru[str] = ByteLru(10, 100.0, lambda: now)
    lru.put("large", "x", 11)
    lru.put("a", "a", 4)
    now = 60.0
    lru.put("b", "b", 4)
    now = 100.0
    assert [lru.get("large"), lru.get("a"), lru.get("b")] == [None, None, "b"]
    assert lru.bytes == 4


def test_a_block_that_is_sealed_while_others_go_is_whole() -> None:
    """Rows are used again: what another thread seals must not be what the engine is writing."""
    held = cache(12 * 4 * 4096)
    stop = threading.Event()

    def write() -> None:
        for at in itertools.count():
            if stop.is_set():
                return
            held.put(BlockKey("acme/0", f"{at % 16:064x}"), 1, torch.full((4096,), float(at % 16)))

    thread = threading.Thread(target=write)
    thread.start()
    found, deadline = 0, time.monotonic() + 10
    for at in itertools.cycle(range(16)):
        if found == 100 or time.monotonic() > deadline:
            break
        for block in held.sealed([(BlockKey("acme/0", f"{at:064x}"), 1)], 1 << 20):
            assert set(torch.frombuffer(bytearray(block[80:]), dtype=torch.float32).tolist()) == {float(at)}
            found += 1
    stop.set()
    thread.join()
    assert found == 100


def test_a_newer_epoch_forgets_the_older_ones_of_its_tenant_alone() -> None:
    held = cache()
    keys = [BlockKey(scope, "ab" * 32) for scope in ("acme/0", "acme/1", "acme-2/0", "shared")]
    for key in keys:
        held.put(key, 1, torch.zeros(4))
    held.chain(Owner("acme/1"))
    assert [held.holds(key, 1) for key in keys] == [False, True, True, True]


def test_conversations_say_what_they_say_without_a_cache(model: NestedModel) -> None:
    """Every exit and decoding, turns that go on earlier ones, two tenants, a memory too small for all of it."""
    row = 4 * 32 * (32 + 2 * 16)  # of a segment of one layer
    held = cache(64 * row)
    warm, cold, rng = scheduler(model, cache=held), scheduler(model), Random(3)
    talks: list[list[int]] = [[] for _ in range(12)]
    cached = prompted = 0
    for turn in range(4):
        pairs = []
        for at, (talk, job) in enumerate(zip(talks, mixed_jobs(60)[turn * 12 :], strict=False)):
            ids = (talk + job.token_ids)[:90]
            job = replace(job, token_ids=ids, cache=Owner(f"acme-{at % 2}/0", 32))
            pairs.append((job, Answer(warm, job), Answer(cold, replace(job, cache=None))))
            for _ in range(rng.choice([0, 1, 5])):
                warm.step()
        finish(warm)
        finish(cold)
        for talk, (job, got, wanted) in zip(talks, pairs, strict=True):
            assert got.ids == wanted.ids, job
            assert [t.exit for t in got.tokens] == [t.exit for t in wanted.tokens]
            for token, other in zip(got.tokens, wanted.tokens, strict=True):
                assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
            if got.tokens:
                assert got.tokens[0].cached_tokens == got.end.cached_tokens
            cached += got.end.cached_tokens
            prompted += got.end.prompt_tokens
            talk[:] = job.token_ids + got.ids
    assert held.memory.evicted > 0
    assert cached > 0.2 * prompted


@pytest.mark.parametrize("decoding", [Plain(), Speculative(1, 3), EarlyExit({1: 0.0, 2: 0.5})])
def test_what_is_kept_is_what_the_layers_make_of_the_tokens(model: NestedModel, decoding: object) -> None:
    held = cache()
    engine = scheduler(model, cache=held)
    prompt = [3 + i % 50 for i in range(40)]
    answer = Answer(engine, Job(prompt, 4, 30, decoding=decoding, cache=OWNER))
    finish(engine)
    ids = prompt + answer.ids
    keys = held.chain(OWNER).upto(ids, 2)
    size = model.lm.config.hidden_size
    checked = 0
    for lower, last in zip((0, *EXITS), EXITS, strict=False):
        rows = held.leading(keys, last)
        if not rows:
            continue
        wanted = state_of(model, ids, last)
        hidden, k, v = unpack(torch.stack(rows), size, last - lower)
        count = len(hidden)
        assert torch.allclose(hidden, wanted.hidden[:count], atol=1e-5)
        for part, whole in ((k, wanted.keys), (v, wanted.values)):
            assert torch.allclose(part.flatten(1, 2), whole[lower:last, :count], atol=1e-5)
        checked += len(rows)
    # After the prompt's first chunk, an early exit at every token leaves the deeper segments unread.
    assert checked == (2 * len(EXITS) if not isinstance(decoding, EarlyExit) else 4)


def test_a_whole_prompt_that_is_held_is_read_by_no_layer(model: NestedModel) -> None:
    engine = scheduler(model, cache=cache())
    job = Job([3 + i % 50 for i in range(64)], 4, 5, cache=OWNER)
    first, ran = Answer(engine, job), []
    finish(engine)
    plain_run = engine.runner.run_segment
    engine.runner.run_segment = lambda segment, hidden, batch: (
        ran.append(len(hidden)),
        plain_run(segment, hidden, batch),
    )[1]
    again, other = Answer(engine, job), Answer(engine, replace(job, cache=Owner("acme-2/0")))
    engine.step()
    assert (len(again.tokens), ran) == (1, [32] * len(EXITS))  # of the other one's prompt
    finish(engine)
    assert again.ids == first.ids == other.ids
    assert [a.end.cached_tokens for a in (first, again, other)] == [0, 64, 0]


def test_a_shallow_exits_blocks_serve_the_deeper_ones(model: NestedModel) -> None:
    engine = scheduler(model, cache=cache())
    ids = [3 + i % 50 for i in range(70)]
    Answer(engine, Job(ids, EXITS[0], 1, cache=OWNER))
    finish(engine)
    ran: list[tuple[int, int]] = []
    plain_run = engine.runner.run_segment
    engine.runner.run_segment = lambda segment, hidden, batch: (
        ran.append((segment, len(hidden))),
        plain_run(segment, hidden, batch),
    )[1]
    deep = Answer(engine, Job(ids, EXITS[-1], 1, cache=OWNER))
    finish(engine)
    assert sum(n for segment, n in ran if segment == 0) == 6
    assert sum(n for segment, n in ran if segment == 1) == 70
    assert deep.end.cached_tokens == 0


def test_of_a_handoff_what_is_proven_is_kept_and_of_foreign_arithmetic_nothing(model: NestedModel) -> None:
    ids = [3 + i % 50 for i in range(70)]
    inner = {EXITS[0]: state_of(model, ids[:66], EXITS[0]).hidden}
    for own, brings, wanted in ((False, inner, [0, 0, 0]), (True, {}, [0, 2, 2]), (True, inner, [2, 2, 2])):
        held = cache()
        engine = scheduler(model, cache=held)
        state = replace(state_of(model, ids[:66], EXITS[1]), own=own, inner=brings)
        answer = Answer(engine, Job(ids, 4, 3, cache=OWNER), state)
        finish(engine)
        keys = held.chain(OWNER).upto(ids, 2)
        assert [len(held.leading(keys, k)) for k in EXITS] == wanted
        assert answer.end.cached_tokens == 0  # its deepest segment was computed
        again = Answer(engine, Job(ids, 4, 3, cache=OWNER), state)
        finish(engine)
        assert again.ids == answer.ids
