"""What src/ has written down for both origins: the sampler's choices and the bytes of a handoff."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import torch

from sortie.engine.sampler import Draw, Sampling, Seen, sample
from sortie.origin.handoff import Target, decode_handoff, encode_handoff
from sortie.origin.protocol import Refusal

FIXTURES = Path(__file__).parents[2] / "test" / "contract" / "fixtures"
TARGET = Target("0123456789abcdef", ("w8a8",), (1, 2, 4), 8, 4, 16, 2)


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (FIXTURES / name).read_text().splitlines()]


def test_the_sampler_chooses_as_the_typescript_one_does() -> None:
    cases = lines("sampler.jsonl")
    draws = []
    for case in cases:
        seen = Seen(set(case["prompt"]))
        for token in case["answer"]:
            seen.add(token)
        draws.append(Draw(Sampling(**case["sampling"]), seen, case["position"]))
    logits = torch.tensor([case["logits"] for case in cases])
    wanted = [case["id"] for case in cases]
    assert sample(logits, draws) == wanted
    assert [sample(logits[i : i + 1], draws[i : i + 1])[0] for i in range(len(cases))] == wanted


@pytest.mark.parametrize("case", lines("handoffs.jsonl"), ids=lambda case: case["dtype"])
def test_a_handoff_is_read_and_written_byte_for_byte(case: dict) -> None:
    body = base64.b64decode(case["body"])
    request, state = decode_handoff(body, TARGET)
    assert request.model_dump(exclude_none=True) == case["request"]
    wire = torch.float32 if case["dtype"] == "F32" else torch.float16
    values = torch.tensor(case["last_values"]).view(3, 4)
    assert torch.equal(state.hidden, torch.tensor(case["hidden"]).to(wire).float().view(3, 8))
    assert torch.equal(state.inner[1], torch.tensor(case["inner"]).to(wire).float().view(3, 8))
    if case["dtype"] == "I8":
        step = values.view(3, 2, 2).abs().amax(2, keepdim=True) / 127
        assert ((state.values[1] - values).view(3, 2, 2).abs() <= 0.501 * step).all()
    else:
        assert torch.equal(state.values[1], values.to(wire).float())
    text = json.dumps(case["request"], separators=(",", ":"), ensure_ascii=False)
    made = encode_handoff(state, text, request.token_ids, TARGET.fingerprint, "w8a8", case["dtype"], 2)
    assert made == body


def test_no_prefix_and_no_changed_byte_of_a_handoff_passes_for_another() -> None:
    """Every cut and every flipped header byte is refused by name, or decodes: nothing else is ever raised."""
    body = base64.b64decode(lines("handoffs.jsonl")[0]["body"])
    start = 8 + int.from_bytes(body[:8], "little")
    refused = 0
    for length in range(0, len(body), 7):
        with pytest.raises(Refusal):
            decode_handoff(body[:length], TARGET)
    for at in range(start):
        changed = bytearray(body)
        changed[at] ^= 0x11
        try:
            decode_handoff(bytes(changed), TARGET)
        except Refusal as refusal:
            assert refusal.status == 400
            assert refusal.code.startswith("handoff_")
            refused += 1
    assert refused > start / 2


def test_numbers_that_are_not_finite_are_refused() -> None:
    body = bytearray(base64.b64decode(lines("handoffs.jsonl")[0]["body"]))
    body[-4:] = b"\x00\x00\x80\x7f"
    with pytest.raises(Refusal, match="not finite"):
        decode_handoff(bytes(body), TARGET)
