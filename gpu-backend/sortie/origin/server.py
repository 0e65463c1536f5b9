"""`sortie-origin`: loads a checkpoint, warms it up, serves it until told to end, and lets answers finish."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time

import uvicorn

from ..cache.prefix_cache import PrefixCache
from ..engine.decoding import Speculative
from ..engine.runner import Runner
from ..engine.service import Service, warm_up
from ..errors import UserError, run_command
from .answer import Origin
from .app import Served, create_app
from .chat import chat_routes
from .checkpoint import Checkpoint, load_checkpoint
from .settings import Settings, read_settings
from .tracing import trace_exporter

log = logging.getLogger("sortie.origin")

# Seconds answers may still take after a signal to end; supervisors kill after 30.
DRAIN_SECONDS = 25.0
# Seconds in which one Ctrl-C may arrive twice: from the terminal and from a parent that passes it on.
REPEATED_SIGNAL_SECONDS = 1.0
# Seconds an idle connection is kept, and for the last bytes of finished answers.
KEEP_ALIVE_SECONDS = 30
CLOSE_SECONDS = 2
# Connections that may wait to be accepted.
BACKLOG = 2048


class QuietServer(uvicorn.Server):
    """uvicorn without its own signal handlers: it would close connections that are still being answered."""

    def install_signal_handlers(self) -> None:
        """Signals are this module's."""

    def capture_signals(self):  # noqa: D102, ANN201 - a context manager, as uvicorn's
        from contextlib import nullcontext

        return nullcontext()


def load(settings: Settings) -> tuple[Checkpoint, Service, float]:
    """The checkpoint, its engine (not yet started), and its measured prefill rate in tokens per second."""
    checkpoint = load_checkpoint(settings.checkpoint, settings.device, settings.dtype, settings.name)
    usual = settings.usual
    if isinstance(usual, Speculative) and usual.draft_exit not in checkpoint.model.exits[:-1]:
        raise UserError(
            f"--speculate: {usual.draft_exit} is no exit before the last; exits are {checkpoint.model.exits}"
        )
    runner = Runner(checkpoint.model, settings.active, settings.cache_bytes)
    rate = warm_up(runner, settings.chunk_tokens)
    cache = None
    if settings.prefix_bytes > 0:
        cache = PrefixCache(checkpoint.fingerprint, checkpoint.numerics, settings.prefix_bytes)
    places = settings.active + settings.queue
    return checkpoint, Service(runner, places, settings.chunk_tokens, cache, settings.overtake), rate


async def serve(settings: Settings) -> int:
    """Serves until a signal. Returns the process's exit status: 1 when the engine has died."""
    checkpoint, service, rate = load(settings)
    origin = Origin(service, trace_exporter(settings.otlp))
    served = Served(
        checkpoint, origin, settings.secret, rate, settings.usual, settings.numerics, settings.metrics_token
    )
    more = chat_routes(served, settings.checkpoint, settings.api_key) if settings.api_key else ()
    config = uvicorn.Config(
        create_app(served, more),
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    server = QuietServer(config)
    listener = listen(settings.host, settings.port)
    loop = asyncio.get_running_loop()
    status = loop.create_future()
    drained: list[float] = []

    async def drain(code: int) -> None:
        drained.append(time.monotonic())
        origin.draining = True
        await origin.idle(DRAIN_SECONDS)
        origin.ended.set()
        await origin.idle(1.0)
        server.should_exit = True
        status.set_result(code)

    tasks: set[asyncio.Task[None]] = set()

    def on_end(code: int) -> None:
        if not drained:
            tasks.add(loop.create_task(drain(code)))
        elif code == 0 and time.monotonic() - drained[0] > REPEATED_SIGNAL_SECONDS:
            os._exit(1)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, on_end, 0)
    service.on_failure = lambda cause: (
        log.error("the engine is dead", exc_info=cause),
        loop.call_soon_threadsafe(on_end, 1),
    )
    service.start()
    running = loop.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    print(ready_line(listener, checkpoint, rate), flush=True)
    await running
    service.close()
    return await status if drained else 1


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UserError when the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def ready_line(listener: socket.socket, checkpoint: Checkpoint, rate: float) -> str:
    """What supervisors wait for."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    exits = ", ".join(map(str, checkpoint.model.exits))
    model = f"{checkpoint.name} {checkpoint.fingerprint}, {checkpoint.numerics}, exits {exits}, {rate:.0f} tokens/s"
    return f"sortie origin ready on {url} ({model})"


def _main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    sys.exit(asyncio.run(serve(read_settings(sys.argv[1:], dict(os.environ)))))


def main() -> None:
    """The command line."""
    run_command(_main)
