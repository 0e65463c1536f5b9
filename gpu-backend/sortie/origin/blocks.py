"""`GET /v1/blocks`: what the prefix cache holds of a conversation, signed (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from itertools import product

from starlette.requests import Request
from starlette.responses import Response

from ..cache.keys import BlockKey
from ..cache.prefix_cache import PrefixCache
from .protocol import BLOCKS_TYPE, MAX_BLOCKS, MAX_BODY_BYTES, Refusal, exit_unknown
from .signing import DIGEST_HEADER, NONCE_HEADER, SIGNATURE_HEADER, sign_answer

BLOCK = re.compile(r"(shared|[a-z0-9-]{1,63}/[0-9]{1,9})/([0-9a-f]{64})", re.ASCII)
EXIT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


async def answer_blocks(request: Request, secret: bytes, cache: PrefixCache | None, exits: tuple[int, ...]) -> Response:
    """Answers a request whose signature was verified. Raises Refusal 400, 404 `blocks_unknown`."""
    query = request.query_params
    exit_text, names = query.get("exit", ""), query.getlist("block")
    found = [BLOCK.fullmatch(name) for name in names]
    if not EXIT.fullmatch(exit_text) or not 1 <= len(names) <= MAX_BLOCKS or None in found:
        raise Refusal(400, "request_invalid", "It asks for no blocks, too many, or misnames them.")
    exit_layer = int(exit_text)
    if exit_layer not in exits:
        raise exit_unknown(exits)
    keys = [BlockKey(*match.groups()) for match in found]
    layers = [k for k in exits if k <= exit_layer]
    # Digests of some megabytes: not in the event loop.
    sealed = [] if cache is None else await asyncio.to_thread(cache.sealed, product(keys, layers), MAX_BODY_BYTES)
    whole = len(sealed) // len(layers)
    if whole == 0:
        if "if-none-match" in request.headers:
            return Response(status_code=304)
        raise Refusal(404, "blocks_unknown", "None of these blocks is held here.")
    body = b"".join(sealed[: whole * len(layers)])
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "etag": f'"{keys[whole - 1].key}"',
        DIGEST_HEADER: digest,
        SIGNATURE_HEADER: sign_answer(secret, request.headers[NONCE_HEADER], digest),
    }
    return Response(body, media_type=BLOCKS_TYPE, headers=headers)
