"""The official `openai` Python SDK, unmodified, against a running project. Started by openai-python.test.ts."""

import os

import openai
import pytest

URL = os.environ["SORTIE_URL"]
KEY = os.environ["SORTIE_KEY"]
MODELS = ["tiny:exit-6", "tiny:exit-12"]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"model": "tiny:exit-6", "messages": QUESTION, "temperature": 0, "max_tokens": 32}
# Hot, and the end token, which stands in every prompt, penalised away: the model rambles. Of a few seeds, the one
# whose answer is longest.
RAMBLE = {
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "temperature": 2,
    "max_tokens": 600,
    "extra_body": {"repetition_penalty": 10},
}
RAMBLE_SEEDS = range(1, 4)


@pytest.fixture(scope="session")
def client():
    # Answers are computed each time: one that is remembered would be equal for a poorer reason.
    headers = {"cache-control": "no-cache"}
    with openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, default_headers=headers) as made:
        yield made


@pytest.fixture(scope="session")
def rambles(client):
    """The longest answer of each model: (seed, completion)."""

    def longest(model):
        answers = ((seed, client.chat.completions.create(model=model, seed=seed, **RAMBLE)) for seed in RAMBLE_SEEDS)
        return max(answers, key=lambda answer: answer[1].usage.completion_tokens)

    return {model: longest(model) for model in MODELS}


def test_lists_models(client):
    ids = [model.id for model in client.models.list()]
    assert ids[:2] == ["tiny", "tiny:auto"]
    assert client.models.retrieve("tiny:exit-3").object == "model"


def test_completes(client):
    raw = client.chat.completions.with_raw_response.create(model="tiny", messages=QUESTION)
    answer = raw.parse()
    assert answer.object == "chat.completion"
    assert answer.model == "tiny"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert raw.headers["x-sortie-tier"] in ("edge", "origin")
    assert raw.headers["x-sortie-exit"] in ("3", "6", "9", "12")
    assert raw.headers["x-sortie-route"].startswith("gate=")
    assert raw.request_id == raw.headers["x-request-id"]


@pytest.mark.parametrize("exit_layer, tier", [(3, "edge"), (6, "edge"), (9, "origin"), (12, "origin")])
def test_named_exits(client, exit_layer, tier):
    request = {**GREEDY, "model": f"tiny:exit-{exit_layer}", "max_tokens": 4}
    headers = client.chat.completions.with_raw_response.create(**request).headers
    assert (headers["x-sortie-exit"], headers["x-sortie-tier"]) == (str(exit_layer), tier)


@pytest.mark.parametrize("model", MODELS)
def test_streams_the_same_answer(client, rambles, model):
    seed, whole = rambles[model]
    options = {"include_usage": True}
    stream = client.chat.completions.create(model=model, seed=seed, stream=True, stream_options=options, **RAMBLE)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1


def test_streams_without_usage(client):
    chunks = list(client.chat.completions.create(**GREEDY, stream=True))
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


def joined(chunks, text_of):
    """Text by choice of a stream."""
    texts = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (text_of(choice) or "")
    return texts


@pytest.mark.parametrize("model", MODELS)
def test_several_choices(client, model):
    request = {**RAMBLE, "model": model, "n": 3, "seed": 7, "max_tokens": 12}
    whole = client.chat.completions.create(**request)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in whole.choices]
    assert len(set(texts)) > 1
    assert whole.usage.completion_tokens <= 36
    alone = client.chat.completions.create(**{**request, "n": 1})
    assert alone.choices[0].message.content == texts[0]
    assert alone.usage.prompt_tokens == whole.usage.prompt_tokens
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    assert joined(chunks, lambda choice: choice.delta.content) == dict(enumerate(texts))
    assert chunks[-1].usage == whole.usage


def test_logprobs(client):
    choice = client.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=2).choices[0]
    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    assert all(abs(token.top_logprobs[0].logprob - token.logprob) < 1e-5 for token in tokens)  # greedy


@pytest.mark.parametrize("model", MODELS)
def test_text_completions(client, model):
    request = {"model": model, "prompt": "The capital of France is", "temperature": 0, "max_tokens": 6, "logprobs": 2}
    whole = client.completions.create(**request)
    assert whole.object == "text_completion"
    assert whole.choices[0].finish_reason in ("stop", "length")
    logprobs = whole.choices[0].logprobs
    lengths = {len(values) for values in (logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset)}
    assert lengths == {whole.usage.completion_tokens}
    assert "".join(logprobs.tokens) == whole.choices[0].text
    chunks = list(client.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    assert joined(chunks, lambda choice: choice.text) == {0: whole.choices[0].text}
    assert chunks[-1].usage == whole.usage
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1


def test_text_completions_of_several_prompts(client):
    prompts = ["The capital of France is", "Once upon a time"]
    request = {"model": "tiny:exit-6", "temperature": 0, "max_tokens": 4}
    both = client.completions.create(**request, prompt=prompts, n=2)
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    alone = [client.completions.create(**request, prompt=prompt) for prompt in prompts]
    assert [both.choices[0].text, both.choices[2].text] == [answer.choices[0].text for answer in alone]
    assert both.usage.prompt_tokens == sum(answer.usage.prompt_tokens for answer in alone)


def test_text_completions_of_token_ids(client):
    answer = client.completions.create(model="tiny:exit-3", prompt=[1, 4, 50, 51, 2, 5], max_tokens=3, temperature=0)
    assert answer.usage.prompt_tokens == 6
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny:exit-3", prompt=[10**9])
    assert (caught.value.param, caught.value.code) == ("prompt", "invalid_token")


def test_streams_exits_on_request(client):
    stream = client.chat.completions.create(
        **GREEDY, stream=True, extra_body={"stream_options": {"include_sortie": True}}
    )
    *_, pieces, choice, answer = [chunk.model_extra.get("sortie") for chunk in stream]
    assert all(token["exit"] == 6 and 0 <= token["confidence"] <= 1 for token in pieces["tokens"])
    assert (choice["exit"], choice["tier"]) == (6, "edge")
    costs = {name: answer[name] for name in ("cost_usd", "full_depth_cost_usd")}
    assert answer == {**choice, **costs}
    whole = client.chat.completions.create(**GREEDY)
    assert float(answer["cost_usd"]) > 0
    assert whole.model_extra["sortie"]["cost_usd"] == answer["cost_usd"]


@pytest.mark.parametrize("model", MODELS)
def test_aborts_in_mid_stream(client, rambles, model):
    seed, whole = rambles[model]
    assert whole.usage.completion_tokens > 40
    with client.chat.completions.create(model=model, seed=seed, stream=True, **RAMBLE) as stream:
        first = [next(stream) for _ in range(5)]
    assert first[0].choices[0].delta.role == "assistant"
    assert client.chat.completions.create(**GREEDY).choices  # the server is well


def test_extensions_and_inert_parameters(client):
    extra = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}
    inert = {"user": "acme", "metadata": {"team": "a"}, "store": False, "service_tier": "auto"}
    answer = client.chat.completions.create(**GREEDY, **inert, seed=1, stop=["\n"], extra_body=extra)
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_bad_json(client):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", cast_to=object, content=b'{"model": ', options={"headers": headers})
    assert caught.value.type == "invalid_request_error"


REFUSALS = [
    ({"model": "gpt-4"}, openai.NotFoundError, "model", "model_not_found"),
    ({"messages": []}, openai.BadRequestError, "messages", "empty_array"),
    ({"max_tokens": -1}, openai.BadRequestError, "max_tokens", "integer_below_min_value"),
    ({"n": 17}, openai.BadRequestError, "n", "integer_above_max_value"),
    (
        {"max_completion_tokens": 5},  # beside max_tokens
        openai.BadRequestError,
        "max_tokens",
        "invalid_value",
    ),
    (
        {"response_format": {"type": "json_object"}},
        openai.BadRequestError,
        "response_format.type",
        "invalid_value",
    ),
    ({"logit_bias": {"5": 1}}, openai.BadRequestError, "logit_bias", "unsupported_parameter"),
    (
        {"messages": [{"role": "user", "content": "What is what? " * 2_000}]},
        openai.BadRequestError,
        "messages",
        "context_length_exceeded",
    ),
    (
        {"messages": [{"role": "user", "content": "x" * 1024 * 1024}]},
        openai.APIStatusError,
        None,
        "body_too_large",
    ),
]


@pytest.mark.parametrize(
    "fields, error, param, code", REFUSALS, ids=[f"{param} {code}" for *_, param, code in REFUSALS]
)
def test_typed_errors(client, fields, error, param, code):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{**GREEDY, **fields})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.request_id


def test_body_over_the_limit_is_413(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{**GREEDY, "messages": [{"role": "user", "content": "x" * 2_000_000}]})
    assert caught.value.status_code == 413


def test_wrong_key():
    with openai.OpenAI(base_url=f"{URL}/v1", api_key="sk-sortie-demo-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.models.list()
    assert caught.value.code == "invalid_api_key"
    assert "sk-sortie" not in str(caught.value)
