"""A streamed response that notices at once when its client goes, or reads nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# Seconds a client may leave what was sent unread before its answer is given up: it holds a place.
STALL_SECONDS = 30.0


class WatchedStream(Response):
    """Sends parts as they come. `stop` is called the moment the client is gone, even while a part is computed."""

    def __init__(
        self, parts: AsyncGenerator[bytes], stop: Callable[[], None], media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(media_type=media_type, headers=dict(headers))
        del self.headers["content-length"]
        self._parts = parts
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends when the parts do, or the client is gone; the parts are closed in any case."""
        watch = asyncio.ensure_future(gone(receive))
        work = asyncio.ensure_future(self._send_all(send))
        try:
            await asyncio.wait((watch, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._stop()
                work.cancel()
            await work
        except (asyncio.CancelledError, ClientDisconnect, TimeoutError, OSError):
            pass  # nobody is there to be told
        finally:
            self._stop()
            watch.cancel()
            work.cancel()
            await asyncio.gather(watch, work, return_exceptions=True)
            await self._parts.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for part in self._parts:
            async with asyncio.timeout(STALL_SECONDS):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def gone(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
