"""The origin on Ray Serve: replicas of one checkpoint behind one address, as many as the load asks for.

    ORIGIN_SECRET=… SORTIE_ORIGIN="--checkpoint DIR --active 32" serve run sortie.origin.ray_app:app

Each replica is the server of `server.py` without its socket. Conversations stay on one replica. Nonces are kept in one
actor, so that what one replica has answered no other one answers again. Ray is an optional dependency
(requirements-ray.txt).
"""

from __future__ import annotations

import os
import shlex

import ray
from ray import serve
from ray.serve.config import RequestRouterConfig
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .answer import Origin
from .app import Served, create_app
from .chat import chat_routes
from .protocol import Refusal
from .server import load
from .settings import read_settings
from .signing import NonceStore, Window
from .tracing import trace_exporter

NONCES = "sortie-nonces"
# Requests a replica should have; more bring another replica. Half of what it computes at once by default.
TARGET_REQUESTS = 8
MAX_REPLICAS = 8
# Places of a replica are its own bound (503 with retry-after): Ray must not hold requests back before it.
MAX_ONGOING = 1_000
# By the header `x-session-id`, which the Worker sends: a conversation meets its blocks again. Without it, any replica.
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"


@ray.remote(num_cpus=0)
class Nonces:
    """The nonces that any replica has seen."""

    def __init__(self) -> None:
        self._store = NonceStore()

    def boot(self) -> str:
        """Names the start since which they are remembered: all replicas have the same."""
        return self._store.boot

    def add(self, nonce: str, expires_at: int, now: int) -> tuple[int, str, str] | None:
        """Remembers a nonce. Returns a refusal's status, code and message, None for a new one."""
        try:
            self._store.add(nonce, expires_at, now)
        except Refusal as refusal:
            return refusal.status, refusal.code, refusal.message
        return None


class Delegated(Response):
    """Answers by another application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the application does."""
        await self._app(scope, receive, send)


@serve.deployment(
    max_ongoing_requests=MAX_ONGOING,
    request_router_config=RequestRouterConfig(request_router_class=ROUTER),
    autoscaling_config={
        "min_replicas": int(os.environ.get("SORTIE_MIN_REPLICAS", "1")),
        "max_replicas": MAX_REPLICAS,
        "target_ongoing_requests": TARGET_REQUESTS,
    },
    health_check_period_s=5,
)
class Replica:
    """One engine with its checkpoint."""

    def __init__(self, options: str) -> None:
        """options: of `sortie-origin`, as on its command line."""
        settings = read_settings(shlex.split(options), dict(os.environ))
        checkpoint, self._service, rate = load(settings)
        origin = Origin(self._service, trace_exporter(settings.otlp))
        served = Served(
            checkpoint, origin, settings.secret, rate, settings.usual, settings.numerics, settings.metrics_token
        )
        more = chat_routes(served, settings.checkpoint, settings.api_key) if settings.api_key else ()
        nonces = Nonces.options(name=NONCES, get_if_exists=True, lifetime="detached").remote()

        async def remember(nonce: str, expires_at: int, now: int) -> None:
            refusal = await nonces.add.remote(nonce, expires_at, now)
            if refusal is not None:
                raise Refusal(*refusal)

        boot = ray.get(nonces.boot.remote())
        self._app = create_app(served, more, Window(boot, remember))
        self._service.start()

    async def __call__(self, request: Request) -> Response:
        """Any path."""
        return Delegated(self._app)

    def check_health(self) -> None:
        """Raises when the engine is dead: Ray then starts another replica."""
        if self._service.failure is not None:
            raise RuntimeError("the engine is dead")


app = Replica.bind(os.environ.get("SORTIE_ORIGIN", ""))
