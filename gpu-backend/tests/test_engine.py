"""Batched answers against those of stock transformers and of one request at a time."""

from __future__ import annotations

import copy
from random import Random

import pytest
import torch
from conftest import EXITS
from test_inference import prompts, stock_greedy

from sortie.cache.prefix_cache import PrefixCache
from sortie.engine.decoding import Decoding, EarlyExit, Plain, Speculative
from sortie.engine.graphs import bucket, fill
from sortie.engine.ragged import RaggedBatch, Span
from sortie.engine.runner import Runner
from sortie.engine.sampler import Sampling
from sortie.engine.scheduler import Running, Scheduler
from sortie.engine.sequence import End, Job, Sequence, State, Token
from sortie.nested import NestedModel

MOST = 24
END = 2
BUDGET = 4 << 20
CHUNK = 32


def scheduler(model: NestedModel, rows: int = 16, budget: int = BUDGET, cache: PrefixCache | None = None) -> Scheduler:
    return Scheduler(Runner(copy.deepcopy(model), rows, budget), CHUNK, cache)


class Answer:
    """What one request was told."""

    def __init__(self, engine: Scheduler, job: Job, state: State | None = None, **asked: object) -> None:
        self.tokens: list[Token] = []
        self.end: End | None = None
        self.sequence = Sequence(job, engine.exits)
        engine.submit(Running(self.sequence, self.hear, state, **asked))

    def hear(self, event: Token | End) -> None:
        assert self.end is None
        if isinstance(event, Token):
            self.tokens.append(event)
        else:
            self.end = event

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


def finish(engine: Scheduler) -> None:
    while engine.step():
        pass
    assert not engine.running
    assert not engine.waiting
    assert engine.runner.pool.free == engine.runner.pool.pages


def together(model: NestedModel, jobs: list[Job], states: list[State] | None = None) -> list[Answer]:
    """All of them at once."""
    engine = scheduler(model)
    answers = [Answer(engine, job, states[at] if states else None) for at, job in enumerate(jobs)]
    finish(engine)
    assert all(answer.end is not None for answer in answers)
    return answers


def greedy_job(prompt: list[int], exit_layer: int, **change: object) -> Job:
    return Job(prompt, exit_layer, MOST, stop_token_ids=frozenset({END}), **change)


@pytest.mark.parametrize("exit_layer", EXITS)
def test_an_answer_is_that_of_stock_transformers(any_model: NestedModel, exit_layer: int) -> None:
    asked = prompts(10)
    answers = together(any_model, [greedy_job(prompt, exit_layer) for prompt in asked])
    for prompt, answer in zip(asked, answers, strict=True):
        wanted = stock_greedy(any_model, prompt, exit_layer)
        assert answer.ids == wanted
        assert answer.end.finish_reason == ("length" if len(wanted) == MOST else "stop")


def mixed_jobs(count: int) -> list[Job]:
    """Every exit, decoding, length, and both greedy and sampled."""
    rng = Random(7)
    decodings = [Plain(), Plain(), EarlyExit({1: 0.033, 2: 0.03}), Speculative(1, 3), Speculative(2, 4)]
    jobs = []
    for number in range(count):
        decoding = decodings[number % len(decodings)]
        sampling = Sampling(
            temperature=rng.choice([0.0, 0.0, 1.0]),
            top_p=rng.choice([1.0, 0.9]),
            top_k=rng.choice([0, 20]),
            repetition_penalty=rng.choice([1.0, 1.3]),
            frequency_penalty=rng.choice([0.0, 0.5]),
            seed=number,
        )
        prompt = [rng.randrange(3, 64) for _ in range(rng.choice([1, 5, 31, 32, 33, 70]))]
        exit_layer = rng.choice(EXITS) if isinstance(decoding, Plain) else EXITS[-1]
        stop = frozenset({END} if number % 2 else ())
        jobs.append(Job(prompt, exit_layer, rng.randint(1, 20), sampling, 0, 2, stop, decoding))
    return jobs


def test_200_requests_together_say_what_each_says_alone(model: NestedModel) -> None:
    jobs = mixed_jobs(200)
    wanted = [together(model, [job])[0] for job in jobs]
    engine = scheduler(model)
    rng = Random(1)
    answers, most = [], 0
    for job in jobs:
        answers.append(Answer(engine, job))
        for _ in range(rng.choice([0, 0, 0, 1, 2, 5])):
            engine.step()
            most = max(most, engine.last_batch)
    finish(engine)
    assert most == 16
    for job, answer, single in zip(jobs, answers, wanted, strict=True):
        assert answer.ids == single.ids, job
        assert [t.exit for t in answer.tokens] == [t.exit for t in single.tokens]
        for token, other in zip(answer.tokens, single.tokens, strict=True):
            assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert answer.end.tokens_by_exit == single.end.tokens_by_exit
    exits = {
        t.exit for job, a in zip(jobs, answers, strict=True) for t in a.tokens if isinstance(job.decoding, EarlyExit)
    }
    assert exits == set(EXITS)
    assert 0 < sum(a.end.accepted for a in answers) < sum(a.end.drafted for a in answers)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
def test_speculation_says_what_plain_decoding_says(any_model: NestedModel, temperature: float) -> None:
    def jobs(decoding: Decoding) -> list[Job]:
        return [
            greedy_job(prompt, 4, decoding=decoding, sampling=Sampling(temperature, seed=i, presence_penalty=i % 2 / 2))
            for i, prompt in enumerate(prompts(8))
        ]

    plain = together(any_model, jobs(Plain()))
    for draft_exit, drafts in ((1, 1), (1, 3), (2, 8)):
        drafted = together(any_model, jobs(Speculative(draft_exit, drafts)))
        assert [answer.ids for answer in drafted] == [answer.ids for answer in plain]
        assert sum(answer.end.accepted for answer in drafted) > 0


def test_thresholds_of_zero_and_one_are_the_first_and_the_last_exit(any_model: NestedModel) -> None:
    for threshold, exit_layer in ((0.0, EXITS[0]), (1.0, EXITS[-1])):
        decoding = EarlyExit(dict.fromkeys(EXITS[:-1], threshold))
        answers = together(any_model, [greedy_job(prompt, EXITS[-1], decoding=decoding) for prompt in prompts(8)])
        plain = together(any_model, [greedy_job(prompt, exit_layer) for prompt in prompts(8)])
        assert [answer.ids for answer in answers] == [answer.ids for answer in plain]


def state_of(model: NestedModel, ids: list[int], exit_layer: int) -> State:
    """As stock transformers makes it."""
    with torch.inference_mode():
        made = model.lm(torch.tensor([ids]), use_cache=True, output_hidden_states=True)
        hidden = model.exit_hidden(torch.tensor([ids]), up_to=exit_layer)[exit_layer][0]
    layers = made.past_key_values.layers[:exit_layer]
    keys, values = (
        torch.stack([getattr(layer, part)[0].transpose(0, 1).flatten(1) for layer in layers])
        for part in ("keys", "values")
    )
    return State(exit_layer, hidden, keys, values)


def test_a_handoff_is_resumed_to_the_same_answer(model: NestedModel) -> None:
    jobs, states = [], []
    for prompt in prompts(10):
        for from_exit in EXITS:
            for exit_layer in (k for k in EXITS if k >= from_exit):
                for lacking in (0, 2):
                    ids = [*prompt, 5, 6, 7]
                    jobs.append(greedy_job(ids, exit_layer))
                    states.append(state_of(model, ids[: len(ids) - lacking], from_exit))
    answers = together(model, jobs, states)
    assert [a.ids for a in answers] == [a.ids for a in together(model, jobs)]
    whole = [job.exit_layer == state.exit_layer for job, state in zip(jobs, states, strict=True)]
    cached = [state.positions if every else 0 for state, every in zip(states, whole, strict=True)]
    assert [a.end.cached_tokens for a in answers] == cached


def test_requests_wait_for_pages_and_nothing_is_lost(model: NestedModel) -> None:
    pages = Runner(model, 1, BUDGET).pool.shape.page_bytes
    engine = scheduler(model, rows=64, budget=20 * pages)
    jobs = mixed_jobs(40)
    answers = [Answer(engine, job) for job in jobs]
    engine.step()
    assert 0 < len(engine.running) < 40
    finish(engine)
    assert all(answer.end is not None for answer in answers)


@pytest.mark.parametrize(
    ("overtake", "order"), [(0, [0, 1, 2, 3, 4, 6, 7]), (1, [0, 2, 1, 3, 7, 4, 6]), (32, [0, 2, 4, 6, 1, 3, 7])]
)
def test_requests_of_one_exit_are_admitted_together(model: NestedModel, overtake: int, order: list[int]) -> None:
    """Of exits 4 and 1 in turn; one resumes a handoff, one may exit early, one drafts, one is cancelled in the line."""
    engine = Scheduler(Runner(copy.deepcopy(model), 1, BUDGET), CHUNK, overtake=overtake)
    ids = [5, 6, 7]
    jobs = [Job(ids, 1 if number % 2 else 4, 2) for number in range(8)]
    jobs[2] = Job(ids, 4, 2, decoding=EarlyExit({1: 0.0}))
    jobs[4] = Job(ids, 4, 2, decoding=Speculative(1, 2))
    answers = [
        Answer(engine, job, state_of(model, ids, 1) if number == 3 else None, cancelled=lambda at=number: at == 5)
        for number, job in enumerate(jobs)
    ]
    finish(engine)
    assert answers[5].end is None
    answered = [number for number, answer in enumerate(answers) if answer.end is not None]
    assert sorted(answered, key=lambda number: answers[number].sequence.started) == order


def test_a_long_prompt_does_not_stall_others(model: NestedModel) -> None:
    engine = scheduler(model)
    short = Answer(engine, Job([5, 6], 4, 20))
    engine.step()
    Answer(engine, Job(list(range(3, 63)) + list(range(3, 40)), 4, 2))
    before = len(short.tokens)
    engine.step()
    engine.step()
    assert len(short.tokens) == before + 2
    finish(engine)


def test_a_cancelled_request_stops_before_the_next_step(model: NestedModel) -> None:
    engine = scheduler(model)
    gone = False
    answer = Answer(engine, Job([5, 6], 4, 50), cancelled=lambda: gone)
    for _ in range(5):
        engine.step()
    gone = True
    assert not engine.step()
    assert len(answer.tokens) == 5
    assert answer.end is None
    finish(engine)


def test_a_paused_request_lets_others_go_on(model: NestedModel) -> None:
    engine = scheduler(model)
    paused = True
    first = Answer(engine, Job([5, 6], 4, 10), paused=lambda: paused)
    second = Answer(engine, Job([5, 6], 4, 10))
    for _ in range(20):
        engine.step()
    assert (len(first.tokens), len(second.tokens)) == (0, 10)
    paused = False
    finish(engine)
    assert first.ids == second.ids


def test_a_padded_batch_of_single_tokens_computes_what_the_batch_does(model: NestedModel) -> None:
    """What a CUDA graph runs, without the graph."""
    made = []
    for padded in (False, True):
        runner = Runner(copy.deepcopy(model), 4, BUDGET)
        for row, length in enumerate((40, 3, 70)):
            assert runner.pool.take(4, 96) == row
            batch = RaggedBatch.of(runner.pool, [Span(row, 0, length)])
            with torch.inference_mode():
                runner.run_segment(0, runner.embed(list(range(3, 3 + length))[:60] + [5] * max(0, length - 60)), batch)
        batch = RaggedBatch.of(runner.pool, [Span(0, 40, 1), Span(1, 3, 1), Span(2, 70, 1)])
        assert batch.single
        with torch.inference_mode():
            hidden = runner.embed([5, 6, 7])
            if padded:
                rows, positions = torch.empty(4, dtype=torch.long), torch.empty(4, dtype=torch.long)
                fill(rows, positions, batch, runner.pool)
                batch = RaggedBatch.singles(runner.pool, rows, positions, 4)
                hidden = torch.cat((hidden, torch.zeros(bucket(3) - 3, hidden.shape[1])))
            made.append(runner.run_segment(0, hidden, batch)[:3])
    assert torch.allclose(*made, atol=1e-5)
