"""Two replicas of the origin on this machine, where Ray is installed (requirements-ray.txt)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from conftest import TINY

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")

import httpx2 as httpx  # noqa: E402 - openai brings it

SECRET = "a-secret-for-tests-only"
KEY = "an-api-key-for-tests"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    os.environ |= {"ORIGIN_SECRET": SECRET, "ORIGIN_API_KEY": KEY, "SORTIE_MIN_REPLICAS": "2"}
    os.environ["SORTIE_ORIGIN"] = f"--checkpoint {TINY} --device cpu --threads 1 --cache-mib 64"
    from ray import serve

    from sortie.origin.ray_app import app

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": 18765})
    serve.run(app)
    yield "http://127.0.0.1:18765"
    serve.shutdown()
    ray.shutdown()


def test_two_replicas_answer_and_share_their_nonces(url: str) -> None:
    from ray import serve

    from sortie.origin.signing import BOOT_HEADER, sign_request

    status = serve.status().applications["default"].deployments["Replica"]
    assert status.replica_states == {"RUNNING": 2}
    asked = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": "What is 2 plus 2?"}]}
    texts = set()
    for _ in range(8):
        answer = httpx.post(
            f"{url}/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {KEY}"}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        texts.add(answer.json()["choices"][0]["message"]["content"])
    assert len(texts) == 1
    streamed = httpx.post(
        f"{url}/v1/chat/completions",
        json=asked | {"stream": True},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert streamed.text.endswith("data: [DONE]\n\n")

    unknown = sign_request(SECRET.encode(), "GET", "/v1/info", b"", "")
    boot = httpx.get(f"{url}/v1/info", headers=unknown, timeout=60).headers[BOOT_HEADER]
    headers = sign_request(SECRET.encode(), "GET", "/v1/info", b"", boot)
    answers = [httpx.get(f"{url}/v1/info", headers=headers, timeout=60) for _ in range(6)]
    assert [a.status_code for a in answers] == [200, 401, 401, 401, 401, 401]
    assert json.loads(answers[1].text)["error"]["code"] == "signature_replayed"


def test_a_conversation_meets_its_blocks_again(url: str) -> None:
    """Six prompts asked four times each: whatever replica has one, the same has it again."""
    from sortie.origin.signing import BOOT_HEADER, sign_request

    unknown = sign_request(SECRET.encode(), "GET", "/v1/info", b"", "")
    boot = httpx.get(f"{url}/v1/info", headers=unknown, timeout=60).headers[BOOT_HEADER]

    def cached(number: int) -> int:
        request = {
            "request_id": f"r-{number}",
            "token_ids": [300 + (i * 7 + number) % 500 for i in range(40)],
            "exit_layer": 3,
            "max_tokens": 1,
            "sampling": {"temperature": 0, "seed": 0},
            "stop_token_ids": [],
            "cache": {"scope": "acme/0", "shared_tokens": 0},
        }
        body = json.dumps(request).encode()
        headers = sign_request(SECRET.encode(), "POST", "/v1/generate", body, boot)
        headers |= {"content-type": "application/json", "x-session-id": str(number)}
        answer = httpx.post(f"{url}/v1/generate", content=body, headers=headers, timeout=60)
        end = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
        return end["usage"]["cached_tokens"]

    assert [[cached(number) for _ in range(4)] for number in range(6)] == [[0, 32, 32, 32]] * 6
