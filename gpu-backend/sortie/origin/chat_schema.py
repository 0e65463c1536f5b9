"""OpenAI's requests as this origin reads them: the fields that it has, and its own `decoding`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .protocol import MAX_JSON_BYTES, DecodingSchema, Refusal, TokenId

MAX_MESSAGES = 1_000
MAX_STOPS = 4
MAX_STOP_CHARS = 256


class Lax(BaseModel):
    """Unknown keys are refused by name; whole numbers may be written as floats, as OpenAI takes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextPart(Lax):
    """`{"type": "text", "text": …}`."""

    type: Literal["text"]
    text: str


class Message(Lax):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def turn(self) -> dict[str, str]:
        """As chat templates read it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(Lax):
    """`stream_options`."""

    include_usage: bool = False


StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]


class Asked(Lax):
    """What both addresses have; what asks for nothing here (`user`, `metadata`, `store: false`, `n: 1`) is accepted."""

    model: str
    max_tokens: int | None = Field(None, gt=0)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    stop: StopText | list[StopText] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    store: Literal[False] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    decoding: DecodingSchema | None = None

    @property
    def stops(self) -> list[str]:
        """Texts that end the answer and are not part of it."""
        return [self.stop] if isinstance(self.stop, str) else (self.stop or [])[:MAX_STOPS]


class ChatRequest(Asked):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(None, gt=0)


class CompletionRequest(Asked):
    """`POST /v1/completions`: text, which gets the tokenizer's own prefix, or token ids, taken as they are."""

    prompt: str | Annotated[list[TokenId], Field(min_length=1)]
    # vLLM's name; chunks have the ids in any case.
    return_token_ids: bool | None = None


Kind = TypeVar("Kind", bound=Asked)


def read_body(kind: type[Kind], body: bytes) -> Kind:
    """Raises Refusal 400 naming the field, 413."""
    if len(body) > MAX_JSON_BYTES:
        raise Refusal(413, "body_too_large", f"JSON may have {MAX_JSON_BYTES} bytes.")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        issue = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in issue["loc"])
        raise Refusal(
            400, "request_invalid", f"{where}: {issue['msg']}." if where else f"{issue['msg']}.", where or None
        ) from None


def exit_of(model: str, name: str, exits: tuple[int, ...]) -> int:
    """`<name>` is the deepest exit, `<name>:exit-<k>` a fixed one. Raises Refusal 404."""
    if model == name:
        return exits[-1]
    for k in exits:
        if model == f"{name}:exit-{k}":
            return k
    known = ", ".join([name, *(f"{name}:exit-{k}" for k in exits)])
    raise Refusal(404, "model_not_found", f"The model {model[:80]!r} does not exist; there are {known}.", "model")
