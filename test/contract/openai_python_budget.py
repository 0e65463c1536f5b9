"""What the official `openai` Python SDK makes of budgets and rate limits. Started by openai-python.test.ts."""

import os
import time

import openai
import pytest

URL = os.environ["SORTIE_URL"]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"model": "tiny:exit-6", "messages": QUESTION, "temperature": 0, "max_tokens": 8}
# Hot, and the end token penalised away: it goes on until it is left.
RAMBLE = {**GREEDY, "temperature": 2, "max_tokens": 600, "extra_body": {"repetition_penalty": 10}}


@pytest.fixture
def sent():
    """Seconds at which each request was sent."""
    return []


@pytest.fixture
def make_client(sent):
    """Clients of a key that note when they send; `refused` is called at every 429."""

    def make(key, refused=lambda: None):
        def note(response):
            if response.status_code == 429:
                refused()

        hooks = {"request": [lambda _: sent.append(time.monotonic())], "response": [note]}
        http = openai.DefaultHttpxClient(event_hooks=hooks)
        return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, http_client=http, max_retries=5)

    return make


def test_a_spent_budget_is_not_asked_again(make_client, sent):
    with make_client(os.environ["SORTIE_BROKE_KEY"]) as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**GREEDY)
    error = caught.value
    assert (error.status_code, error.code, error.type) == (429, "insufficient_quota", "insufficient_quota")
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.json()["budget"]["limit_usd"] == "0.000001"
    assert len(sent) == 1


def test_a_rate_limit_is_waited_for(make_client, sent):
    with make_client(os.environ["SORTIE_NARROW_KEY"]) as client:
        running = client.chat.completions.create(**RAMBLE, stream=True)
        next(running)
        with make_client(os.environ["SORTIE_NARROW_KEY"], refused=running.close) as another:
            answer = another.chat.completions.create(**GREEDY)
    assert answer.choices[0].finish_reason in ("stop", "length")
    _, refused, again, *_ = sent
    assert again - refused >= 1  # retry-after: 1


def test_a_rate_limit_without_retries_is_a_typed_error(make_client):
    with make_client(os.environ["SORTIE_NARROW_KEY"]).with_options(max_retries=0) as client:
        running = client.chat.completions.create(**RAMBLE, stream=True)
        next(running)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**GREEDY)
        running.close()
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert caught.value.response.headers["retry-after"] == "1"
