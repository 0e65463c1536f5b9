"""What the official `openai` Python SDK makes of failures. Started by openai-python.test.ts."""

import os
import time

import openai
import pytest

URL = os.environ["SORTIE_URL"]
KEY = os.environ["SORTIE_KEY"]
RETRY_AFTER_SECONDS = float(os.environ["SORTIE_RETRY_AFTER"])
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def sent():
    """Seconds at which each request was sent."""
    return []


@pytest.fixture
def client(sent):
    hooks = {"request": [lambda _: sent.append(time.monotonic())]}
    with openai.OpenAI(
        base_url=f"{URL}/v1", api_key=KEY, http_client=openai.DefaultHttpxClient(event_hooks=hooks)
    ) as made:
        yield made


FAILURES = [
    ("forbidden", openai.PermissionDeniedError, 403, "model_forbidden", 1),
    ("spent", openai.RateLimitError, 429, "insufficient_quota", 1),
    ("broken", openai.InternalServerError, 500, "internal_error", 3),
    ("bad-gateway", openai.InternalServerError, 502, "origin_failed", 3),
    ("unavailable", openai.InternalServerError, 503, "code_503", 3),
    ("slow", openai.InternalServerError, 504, "origin_timeout", 3),
]


@pytest.mark.parametrize("model, error, status, code, requests", FAILURES, ids=[model for model, *_ in FAILURES])
def test_typed_errors(client, sent, model, error, status, code, requests):
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=QUESTION)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert "no client sees" not in str(caught.value)
    assert len(sent) == requests


@pytest.mark.parametrize("model", ["busy-429-python", "busy-503-python"])
def test_asks_again_after_the_seconds_of_retry_after(client, sent, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION)
    assert answer.choices[0].message.content == "Paris"
    assert len(sent) == 2
    assert sent[1] - sent[0] >= RETRY_AFTER_SECONDS


def test_a_stream_that_breaks_off(client, sent):
    text = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(model="breaks-off", messages=QUESTION, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert text == "Paris"
    assert caught.value.code == "origin_failed"
    assert len(sent) == 1


def test_a_text_completion_that_breaks_off(client):
    with pytest.raises(openai.APIError) as caught:
        list(client.completions.create(model="breaks-off", prompt="x", stream=True))
    assert caught.value.code == "origin_failed"
