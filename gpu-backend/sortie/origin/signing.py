"""Signed requests, as src/origin/signing.ts: HMAC-SHA-256 over method, path, timestamp, nonce, body digest and boot."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from .protocol import PROTOCOL, Refusal

TIMESTAMP_HEADER = "x-sortie-timestamp"
NONCE_HEADER = "x-sortie-nonce"
DIGEST_HEADER = "x-sortie-content-sha256"
SIGNATURE_HEADER = "x-sortie-signature"
# Of a request: the start that it is for. Of a refusal: the start that refuses.
BOOT_HEADER = "x-sortie-boot"
# Milliseconds a signature is good for, either way.
REPLAY_WINDOW_MS = 60_000
# Nonces remembered: about 800 requests a second over both halves of the window.
MAX_NONCES = 100_000

TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)
NONCE = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")
# Empty while the client does not know the start.
BOOT = re.compile(r"(?:[0-9a-f]{32})?")


# Remembers a nonce until a time: (nonce, expires at, now). Raises Refusal as `NonceStore.add` does.
Remember = Callable[[str, int, int], Awaitable[None]]


class NonceStore:
    """The nonces seen since a start, inside the window. Full means refused: forgetting one would let it be replayed.

    boot: names this start; signatures are for one that remembers.
    """

    def __init__(self, capacity: int = MAX_NONCES) -> None:
        self.boot = secrets.token_hex(16)
        self.capacity = capacity
        # Nonce → millisecond after which its timestamp is stale anyway, oldest first.
        self._expiry: dict[str, int] = {}

    def add(self, nonce: str, expires_at: int, now: int) -> None:
        """Remembers a nonce. Raises Refusal for one that was seen, or when there is no room."""
        if nonce in self._expiry:
            raise Refusal(401, "signature_replayed", "The request was received before.")
        while self._expiry:
            oldest = next(iter(self._expiry))
            if self._expiry[oldest] >= now:
                break
            del self._expiry[oldest]
        if len(self._expiry) >= self.capacity:
            raise Refusal(503, "origin_overloaded", "Too many requests.")
        self._expiry[nonce] = expires_at

    def window(self) -> Window:
        """For a server of one process."""

        async def remember(nonce: str, expires_at: int, now: int) -> None:
            self.add(nonce, expires_at, now)

        return Window(self.boot, remember)


@dataclass(frozen=True)
class Window:
    """Where nonces are remembered. boot: names the start since which they are; remember: see `Remember`."""

    boot: str
    remember: Remember


@dataclass(frozen=True)
class Signed:
    """What a signature that holds says. digest: what the body must have; nonce: to be remembered until `expires_at`."""

    digest: str
    nonce: str
    expires_at: int


def verify_headers(secret: bytes, method: str, path: str, headers: Mapping[str, str], now: int, boot: str) -> Signed:
    """Checks a request's headers. path: with query; now: milliseconds since 1970; boot: of this start.

    Raises Refusal 401.

    The caller then remembers the nonce: only once the signature holds, so that strangers cannot fill the store.
    """
    names = (TIMESTAMP_HEADER, NONCE_HEADER, DIGEST_HEADER, BOOT_HEADER, SIGNATURE_HEADER)
    values = [headers.get(name) for name in names]
    if None in values:
        raise Refusal(401, "signature_missing", "The request is not signed.")
    timestamp, nonce, digest, meant, signature = values
    shapes = zip((TIMESTAMP, NONCE, DIGEST, BOOT, DIGEST), values, strict=True)
    wellformed = all(shape.fullmatch(value) for shape, value in shapes)
    expected = signature_of(secret, method, path, timestamp, nonce, digest, meant)
    if not wellformed or not hmac.compare_digest(expected, signature):
        raise Refusal(401, "signature_invalid", "The signature does not fit the request.")
    sent = int(timestamp)
    if abs(now - sent) > REPLAY_WINDOW_MS:
        raise Refusal(401, "signature_stale", "The signature is too old, or from the future.")
    if meant != boot:
        message = "The signature is for another start of this origin."
        raise Refusal(401, "signature_boot_mismatch", message, headers={BOOT_HEADER: boot})
    return Signed(digest, nonce, sent + REPLAY_WINDOW_MS)


def sign_request(secret: bytes, method: str, path: str, body: bytes, boot: str) -> dict[str, str]:
    """The five headers of a request. path: with query; boot: the origin's start, empty while it is not known."""
    timestamp, nonce, digest = str(time.time_ns() // 1_000_000), secrets.token_hex(16), hashlib.sha256(body).hexdigest()
    return {
        TIMESTAMP_HEADER: timestamp,
        NONCE_HEADER: nonce,
        DIGEST_HEADER: digest,
        BOOT_HEADER: boot,
        SIGNATURE_HEADER: signature_of(secret, method, path, timestamp, nonce, digest, boot),
    }


def signature_of(secret: bytes, method: str, path: str, timestamp: str, nonce: str, digest: str, boot: str) -> str:
    """HMAC over the lines of a request."""
    text = "\n".join((PROTOCOL, method, path, timestamp, nonce, digest, boot)).encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def sign_answer(secret: bytes, nonce: str, digest: str) -> str:
    """The signature of an answer whose body must be believed. nonce: the request's; digest: the body's."""
    return hmac.new(secret, "\n".join((PROTOCOL, "200", nonce, digest)).encode(), hashlib.sha256).hexdigest()


def verify_body(body: bytes, digest: str) -> None:
    """Raises Refusal 401 unless the body is the one that was signed."""
    if not hmac.compare_digest(hashlib.sha256(body).hexdigest(), digest):
        raise Refusal(401, "signature_invalid", "The body is not the one that was signed.")
