"""`sortie-origin/1` as src/origin/protocol.ts and src/generation.ts define it: bounds, schemas, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..cache.keys import Owner
from ..engine.decoding import MAX_DRAFTS, Decoding, EarlyExit, Plain, Speculative
from ..engine.sampler import Sampling
from ..engine.sequence import Job

PROTOCOL = "sortie-origin/1"
JSON_TYPE = "application/json"
# The checkpoint whose tokens are wanted; absent: whichever is there.
FINGERPRINT_HEADER = "x-sortie-fingerprint"
SAFETENSORS_TYPE = "application/vnd.safetensors"
BLOCKS_TYPE = "application/vnd.sortie.blocks"
SSE_TYPE = "text/event-stream"
# Bytes of a request, of a safetensors header, and of a JSON request.
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_HEADER_BYTES = 1024 * 1024
MAX_JSON_BYTES = MAX_HEADER_BYTES
# Tokens of a prompt; layers that a handoff may span.
MAX_TOKEN_IDS = 128 * 1024
MAX_LAYERS = 256
# Blocks that one request may ask for.
MAX_BLOCKS = 64
# Seconds between pings: proxies cut streams that are silent for 30 s.
PING_SECONDS = 15.0
# Seconds after which a refused client may ask again: about one short answer.
RETRY_AFTER_SECONDS = 2
MAX_TOP_LOGPROBS = 20


class Refusal(Exception):
    """A request that is not served; becomes OpenAI's error object."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self._headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """OpenAI's error form."""
        kind = "invalid_request_error"
        if self.status == 401:
            kind = "authentication_error"
        elif self.status >= 500:
            kind = "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Its own, and `retry-after` where asking again may help."""
        return self._headers | ({"retry-after": str(RETRY_AFTER_SECONDS)} if self.status == 503 else {})


class Strict(BaseModel):
    """As zod's `strictObject`: no coercion, no unknown key, no infinite number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SamplingSchema(Strict):
    """`samplingSchema`."""

    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    seed: int = Field(ge=0, le=0xFFFFFFFF)


class EarlyExitSchema(Strict):
    """`{"kind": "early_exit", "thresholds": {"3": 0.9}}`: keys are exits in decimal."""

    kind: Literal["early_exit"]
    thresholds: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")], Annotated[float, Field(ge=0, le=1)]]


class SpeculativeSchema(Strict):
    """`{"kind": "speculative", "draft_exit": 3, "drafts": 4}`."""

    kind: Literal["speculative"]
    draft_exit: int = Field(gt=0)
    drafts: int = Field(4, gt=0, le=MAX_DRAFTS)


class CacheScope(Strict):
    """`cacheScopeSchema`: whose blocks a prefix cache may read and leave (docs/protocol.md)."""

    scope: str = Field(pattern=r"^[a-z0-9-]{1,63}/[0-9]{1,9}$")
    shared_tokens: int = Field(ge=0)
    continued: bool = False


DecodingSchema = Annotated[EarlyExitSchema | SpeculativeSchema, Field(discriminator="kind")]
TokenId = Annotated[int, Field(ge=0)]


class GenerationRequest(Strict):
    """`generationRequestSchema`, and `decoding`, which this origin adds (its name is in `GET /v1/info`)."""

    request_id: str = Field(min_length=1, max_length=128)
    token_ids: list[TokenId] = Field(min_length=1)
    answer_tokens: int = Field(0, ge=0)
    exit_layer: int = Field(gt=0)
    max_tokens: int = Field(gt=0)
    sampling: SamplingSchema
    top_logprobs: int = Field(0, ge=0, le=MAX_TOP_LOGPROBS)
    stop_token_ids: list[TokenId] = Field(max_length=16)
    cache: CacheScope | None = None
    decoding: DecodingSchema | None = None


def read_request(text: bytes | str) -> GenerationRequest:
    """The JSON of a request. Raises Refusal 400 `request_invalid`."""
    try:
        request = GenerationRequest.model_validate_json(text)
    except ValidationError as error:
        issue = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in issue["loc"]) or None
        raise Refusal(400, "request_invalid", f"{issue['msg']}.", where) from None
    if len(request.token_ids) > MAX_TOKEN_IDS:
        raise Refusal(400, "request_invalid", f"token_ids has more than {MAX_TOKEN_IDS} tokens", "token_ids")
    if request.answer_tokens >= len(request.token_ids):
        message = "answer_tokens leaves no token of token_ids to the prompt"
        raise Refusal(400, "request_invalid", message, "answer_tokens")
    return request


def exit_unknown(exits: tuple[int, ...]) -> Refusal:
    """For an exit that this checkpoint does not have."""
    return Refusal(400, "exit_unknown", f"The exits are {', '.join(map(str, exits))}.", "exit_layer")


def job_of(request: GenerationRequest, exits: tuple[int, ...], vocabulary: int, context: int, usual: Decoding) -> Job:
    """The request as the engine's job. usual: the decoding of requests that name none, where it fits their exit.

    Raises Refusal 400 for an exit, an id or a length that this checkpoint does not have.
    """
    if request.exit_layer not in exits:
        raise exit_unknown(exits)
    if max(request.token_ids) >= vocabulary:
        raise Refusal(400, "request_invalid", f"Token ids are below {vocabulary}.", "token_ids")
    if len(request.token_ids) + request.max_tokens > context:
        asked = f"{len(request.token_ids)} + {request.max_tokens}"
        raise Refusal(400, "context_length_exceeded", f"{asked} tokens are more than {context}.", "max_tokens")
    return Job(
        request.token_ids,
        request.exit_layer,
        request.max_tokens,
        Sampling(**request.sampling.model_dump()),
        request.answer_tokens,
        request.top_logprobs,
        frozenset(request.stop_token_ids),
        decoding_of(request, exits, usual),
        None if request.cache is None else Owner(request.cache.scope, request.cache.shared_tokens),
    )


def decoding_of(request: GenerationRequest, exits: tuple[int, ...], usual: Decoding) -> Decoding:
    """How the request's tokens are chosen. Raises Refusal 400 for exits that are not shallower ones of it."""
    asked = request.decoding
    shallower = [k for k in exits if k < request.exit_layer]
    if asked is None:
        fits = not isinstance(usual, Speculative) or usual.draft_exit in shallower
        return usual if fits else Plain()
    named = [int(k) for k in asked.thresholds] if isinstance(asked, EarlyExitSchema) else [asked.draft_exit]
    unknown = [k for k in named if k not in shallower]
    if unknown:
        raise Refusal(400, "exit_unknown", f"{unknown[0]} is no exit below {request.exit_layer}.", "decoding")
    if isinstance(asked, EarlyExitSchema):
        return EarlyExit({int(k): value for k, value in asked.thresholds.items()})
    return Speculative(asked.draft_exit, asked.drafts)
