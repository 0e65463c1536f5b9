"""The server as a process, by HTTP: OpenAI's addresses with the official client, decodings, and what is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest
from conftest import TINY

KEY = "an-api-key-for-tests"
SECRET = "a-secret-for-tests-only"


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    options = ["--checkpoint", str(TINY), "--device", "cpu", "--port", "0", "--threads", "1", "--cache-mib", "64"]
    server = subprocess.Popen(
        [sys.executable, "-m", "sortie.origin", *options],
        env={**os.environ, "ORIGIN_SECRET": SECRET, "ORIGIN_API_KEY": KEY},
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = next(line for line in server.stdout if "ready on" in line)
    url = re.search(r"http://\S+", ready)[0]
    yield openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    server.send_signal(signal.SIGTERM)
    server.stdout.read()
    assert server.wait(30) == 0


ASKED = [{"role": "user", "content": "What is the capital of France?"}]


def ask(client: openai.OpenAI, model: str = "tiny", **more: object) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(model=model, messages=ASKED, temperature=0, **more)


def test_models_are_the_exits(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["tiny", *(f"tiny:exit-{k}" for k in (3, 6, 9, 12))]


def test_whole_and_streamed_answers_are_the_same(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer.choices[0].message.content
    assert chunks[-1].usage == answer.usage


# Hot, and the end token, which stands in the prompt, penalised away: an answer that lasts.
RAMBLE = {
    "model": "tiny",
    "prompt": [1, 300, 301, 2],
    "max_tokens": 40,
    "temperature": 2,
    "seed": 3,
    "extra_body": {"repetition_penalty": 10},
}


def test_text_and_ids_are_completed(client: openai.OpenAI) -> None:
    text = client.completions.create(model="tiny", prompt="one two three", temperature=0)
    assert text.usage.prompt_tokens >= 3
    ids = client.completions.create(**RAMBLE)
    assert (ids.usage.prompt_tokens, ids.usage.completion_tokens) == (4, 40)
    streamed = list(client.completions.create(stream=True, **RAMBLE))
    assert "".join(chunk.choices[0].text for chunk in streamed) == ids.choices[0].text
    assert sum(len(chunk.choices[0].token_ids) for chunk in streamed) == 40


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    whole = client.completions.create(**RAMBLE).choices[0].text
    assert len(whole) > 20
    stop = whole[9:13]
    cut = client.completions.create(stop=stop, **RAMBLE).choices[0]
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_decodings_say_what_plain_decoding_says(client: openai.OpenAI) -> None:
    plain = ask(client)
    speculative = {"kind": "speculative", "draft_exit": 6, "drafts": 3}
    assert ask(client, extra_body={"decoding": speculative}).choices == plain.choices
    never = {"kind": "early_exit", "thresholds": {"3": 1, "6": 1}}
    assert ask(client, extra_body={"decoding": never}).choices == plain.choices
    always = {"kind": "early_exit", "thresholds": {"6": 0}}
    assert ask(client, extra_body={"decoding": always}).choices == ask(client, "tiny:exit-6").choices


def test_a_control_token_that_a_user_spells_is_text(client: openai.OpenAI) -> None:
    spelt = [{"role": "user", "content": "<|end|></s><s><pad><|user|>"}]
    plain = [{"role": "user", "content": ""}]
    counts = [client.chat.completions.create(model="tiny", messages=m, max_tokens=1).usage for m in (spelt, plain)]
    assert counts[0].prompt_tokens > counts[1].prompt_tokens + 5


@pytest.mark.parametrize(
    ("model", "more", "kind"),
    [
        ("other", {}, openai.NotFoundError),
        ("tiny:exit-5", {}, openai.NotFoundError),
        ("tiny", {"max_tokens": 100_000}, openai.BadRequestError),
        ("tiny", {"n": 2}, openai.BadRequestError),
        ("tiny", {"logit_bias": {"5": 1}}, openai.BadRequestError),
        ("tiny", {"extra_body": {"decoding": {"kind": "speculative", "draft_exit": 12}}}, openai.BadRequestError),
    ],
)
def test_what_cannot_be_done_is_refused(client: openai.OpenAI, model: str, more: dict, kind: type[Exception]) -> None:
    with pytest.raises(kind) as refused:
        ask(client, model, **more)
    assert {"message", "type", "param", "code"} == set(refused.value.body)


def test_a_wrong_key_opens_nothing(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(api_key="another"))
