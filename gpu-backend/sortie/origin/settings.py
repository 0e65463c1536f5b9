"""`sortie-origin`: the command line and environment."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from ..engine.admission import OVERTAKE
from ..engine.decoding import MAX_DRAFTS, Decoding, Plain, Speculative
from ..errors import UserError
from ..nested import DTYPES
from .tracing import OTLP_VARIABLE

# 16 random characters are beyond guessing.
MIN_SECRET_LENGTH = 16
MIB = 1 << 20
# Prompt tokens of one step: a step on a CPU stays short, a GPU has room.
CHUNK_TOKENS = {"cpu": 128, "cuda": 1024}
NUMERICS = {"fp32": ("fp32", "w8a8"), "bf16": ("bf16", "w8a8")}

DESCRIPTION = """Serves the exits of a sorted checkpoint by the protocol sortie-origin/1. Requests must be signed with
ORIGIN_SECRET; /healthz is open. With METRICS_TOKEN set, Prometheus may read /metrics by sending it as a bearer token.
With ORIGIN_API_KEY set, /v1/chat/completions and /v1/models answer OpenAI clients that send it as their key. With
OTEL_EXPORTER_OTLP_ENDPOINT set, traces go there. SIGTERM and Ctrl-C let answers under way finish first."""


@dataclass(frozen=True)
class Settings:
    """What a server is started with."""

    checkpoint: Path
    name: str | None
    device: torch.device
    dtype: torch.dtype
    host: str
    port: int
    active: int
    queue: int
    overtake: int
    cache_bytes: int
    prefix_bytes: int
    chunk_tokens: int
    usual: Decoding
    numerics: tuple[str, ...]
    secret: bytes
    api_key: str | None
    metrics_token: str | None
    otlp: str | None


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="sortie-origin", description=DESCRIPTION)
    add = options.add_argument
    add("--checkpoint", type=Path, required=True, help="folder of a Hugging Face checkpoint")
    add("--name", help="the model's public name (default: the folder's)")
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--dtype", choices=("fp32", "bf16"), help="arithmetic (default: bf16 on cuda, fp32 on a CPU)")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8788, help="0 takes a free one and the ready line names it")
    add("--active", type=int, default=16, metavar="N", help="requests computed at once (default: %(default)s)")
    add("--queue", type=int, default=64, metavar="N", help="requests that may wait, beyond that 503")
    add(
        "--overtake",
        type=int,
        default=OVERTAKE,
        metavar="N",
        help="later requests that may be let in before one, so that those of one exit run together (default: "
        "%(default)s); 0: first come, first served",
    )
    add("--cache-mib", type=int, default=512, metavar="N", help="budget of the kvCache (default: %(default)s)")
    add(
        "--prefix-mib",
        type=int,
        default=default_prefix_mib(usable_memory()),
        metavar="N",
        help="memory for prompts read before (default: an eighth of the memory, here %(default)s); 0: none",
    )
    add("--chunk", type=int, metavar="N", help="prompt tokens read in one step (default: 128 on a CPU, else 1024)")
    add("--threads", type=int, metavar="N", help="threads of one operator on a CPU (default: one a core)")
    add("--speculate", metavar="EXIT:DRAFTS", help="decoding of requests deeper than EXIT that name none, e.g. 6:4")
    add("--own-numerics-only", action="store_true", help="refuse handoffs of the edge's w8a8 arithmetic")
    return options


def read_settings(arguments: list[str], environment: dict[str, str]) -> Settings:
    """Raises UserError for what cannot be served."""
    args = parser().parse_args(arguments)
    secret = environment.get("ORIGIN_SECRET", "")
    if len(secret) < MIN_SECRET_LENGTH:
        raise UserError(
            f"ORIGIN_SECRET must hold the secret shared with the Worker, {MIN_SECRET_LENGTH} characters or more"
        )
    api_key = environment.get("ORIGIN_API_KEY") or None
    if api_key is not None and len(api_key) < MIN_SECRET_LENGTH:
        raise UserError(f"ORIGIN_API_KEY must have {MIN_SECRET_LENGTH} characters or more")
    metrics_token = environment.get("METRICS_TOKEN") or None
    if metrics_token is not None and len(metrics_token) < MIN_SECRET_LENGTH:
        raise UserError(f"METRICS_TOKEN must have {MIN_SECRET_LENGTH} characters or more")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no CUDA device here")
    for name, least in (("active", 1), ("queue", 0), ("overtake", 0), ("cache_mib", 1), ("prefix_mib", 0), ("port", 0)):
        if getattr(args, name) < least:
            raise UserError(f"--{name.replace('_', '-')} must be at least {least}")
    if args.threads is not None:
        torch.set_num_threads(max(1, args.threads))
    dtype = args.dtype or ("bf16" if args.device == "cuda" else "fp32")
    return Settings(
        args.checkpoint,
        args.name,
        torch.device(args.device),
        DTYPES[dtype],
        args.host,
        args.port,
        args.active,
        args.queue,
        args.overtake,
        args.cache_mib * MIB,
        args.prefix_mib * MIB,
        args.chunk or CHUNK_TOKENS[args.device],
        read_speculation(args.speculate),
        NUMERICS[dtype][:1] if args.own_numerics_only else NUMERICS[dtype],
        secret.encode(),
        api_key,
        metrics_token,
        read_collector(environment.get(OTLP_VARIABLE)),
    )


def default_prefix_mib(memory: int) -> int:
    """How much memory the prompts that were read get where nobody says. memory: bytes that this process may use."""
    return min(max(memory // 8 // MIB, 64), 4096)


def usable_memory() -> int:
    """Bytes that this process may use: its container's (cgroup v2 or v1), where it has one, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [machine]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(limit).read_text()))
    return min(limits)


def read_collector(address: str | None) -> str | None:
    """Where traces go. Raises UserError for what is no address."""
    if not address:
        return None
    if not address.startswith(("http://", "https://")):
        raise UserError(f"{OTLP_VARIABLE} is a collector's address, e.g. http://127.0.0.1:4318, not {address!r}")
    return address


def read_speculation(text: str | None) -> Decoding:
    """`EXIT:DRAFTS`. Raises UserError."""
    if text is None:
        return Plain()
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not 1 <= int(parts[1]) <= MAX_DRAFTS:
        raise UserError(f"--speculate is EXIT:DRAFTS with 1 to {MAX_DRAFTS} drafts, e.g. 6:4, not {text!r}")
    return Speculative(int(parts[0]), int(parts[1]))
