"""A soak of the GPU origin: more clients than it has places, for minutes; some leave, some stall, some send nonsense.

    python -m sortie.bench.soak --checkpoint ../models/tiny --seconds 600

Every request must be answered, refused, or be one that its client left; memory must not grow; nothing may stay behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import signal
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2 as httpx

from ..errors import UserError, run_command
from ..origin.signing import BOOT_HEADER, sign_request
from .report import finish, table

CLIENTS = 32
ACTIVE, QUEUE = 8, 16
# Seconds a request may take before it counts as stuck, several times what a full queue takes on a busy machine; those
# in which this process was suspended do not count.
PATIENCE = 240
# Mebibytes of the prefix cache, and prompts that are asked again and again: more than it holds.
PREFIX_MIB, PROMPTS = 32, 12
# Memory is compared from here on: allocators and caches have settled by then.
SETTLE_SHARE = 0.2
SAMPLE_SECONDS = 5.0
# Seconds until the last clients' leaving must have been seen.
SETTLE_TRIES = 15
# Growth over the rest that is taken for noise.
MOST_GROWTH = 0.05


class Client:
    """One client after another's requests, signed."""

    def __init__(self, url: str, secret: bytes, seed: int, counts: Counter[str], seconds: list[float]) -> None:
        """counts: of outcomes; seconds: of whole answers. Both are added to."""
        self.url, self.secret, self.counts, self.seconds = url, secret, counts, seconds
        self.random = random.Random(seed)

    async def run(self, over: asyncio.Event) -> None:
        """Asks until the time is over."""
        async with httpx.AsyncClient(timeout=None) as http:
            while not over.is_set():
                began = time.monotonic()
                asking, patience = (asyncio.ensure_future(each) for each in (self.ask(http), awake(PATIENCE)))
                await asyncio.wait((asking, patience), return_when=asyncio.FIRST_COMPLETED)
                outcome = asking.result() if asking.done() else "stuck"
                asking.cancel()
                patience.cancel()
                self.counts[outcome] += 1
                if outcome == "answered":
                    self.seconds.append(time.monotonic() - began)
                if outcome == "refused":
                    await asyncio.sleep(self.random.uniform(0.05, 0.5))

    async def boot_of(self, http: httpx.AsyncClient) -> str:
        """The server's start, as it tells those who do not know it."""
        headers = sign_request(self.secret, "GET", "/v1/info", b"", "")
        return (await http.get(f"{self.url}/v1/info", headers=headers)).headers[BOOT_HEADER]

    async def ask(self, http: httpx.AsyncClient) -> str:
        """One request; how it ended."""
        body, valid = self.body()
        leave_after = self.random.choice([None, None, None, 1, 5])
        self.boot = self.boot or await self.boot_of(http)
        headers = sign_request(self.secret, "POST", "/v1/generate", body, self.boot)
        headers |= {"content-type": "application/json"}
        tokens = 0
        async with http.stream("POST", f"{self.url}/v1/generate", content=body, headers=headers) as response:
            if response.status_code != 200:
                await response.aread()
                expected = 503 if valid else 400
                return "refused" if response.status_code in (503, expected) else f"status {response.status_code}"
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    return f"failed: {event['error']['code']}"
                if event["type"] == "end":
                    return "answered"
                tokens += 1
                if tokens == leave_after:
                    return "left"
        return "cut short"

    def body(self) -> tuple[bytes, bool]:
        """A request, and whether it is a good one."""
        pick = self.random.choice
        exit_layer = pick([3, 6, 9, 12])
        decoding = None
        if exit_layer == 12:
            early = {"kind": "early_exit", "thresholds": {"3": 0.9, "6": 0.8}}
            decoding = pick([None, early, {"kind": "speculative", "draft_exit": 6, "drafts": 3}])
        request = {
            "request_id": secrets.token_hex(8),
            "token_ids": prompt(self.random.randrange(PROMPTS))[: pick([1, 8, 40, 200, 700])],
            "exit_layer": exit_layer,
            "max_tokens": pick([1, 16, 64, 200]),
            "sampling": {"temperature": pick([0, 1.0]), "seed": self.random.randrange(1 << 32)},
            "stop_token_ids": self.random.choice([[], [2]]),
            "decoding": decoding,
            "cache": pick([None, {"scope": f"acme-{self.random.randrange(3)}/0", "shared_tokens": 0}]),
        }
        if self.random.random() < 0.02:
            return json.dumps(request | {"exit_layer": 5}).encode(), False
        return json.dumps(request).encode(), True


def prompt(number: int) -> list[int]:
    """One of the prompts that clients ask beginnings of."""
    draw = random.Random(number)
    return [draw.randrange(3, 4000) for _ in range(700)]


async def awake(seconds: int) -> None:
    """Sleeps so many seconds in which this process was not suspended."""
    for _ in range(seconds):
        await asyncio.sleep(1)


def resident_bytes(process: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def soak(checkpoint: Path, seconds: int, threads: int) -> dict[str, object]:
    """Runs it. Raises UserError when anything is not as it must be."""
    secret = secrets.token_hex(32)
    options = ["--checkpoint", str(checkpoint), "--device", "cpu", "--port", "0", "--threads", str(threads)]
    size = ["--active", str(ACTIVE), "--queue", str(QUEUE), "--cache-mib", "128", "--prefix-mib", str(PREFIX_MIB)]
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sortie.origin", *options, *size),
        env=os.environ | {"ORIGIN_SECRET": secret, "METRICS_TOKEN": secret},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        ready = (await server.stdout.readline()).decode()
        url = re.search(r"http://\S+", ready)[0]
        drain = asyncio.create_task(swallow(server.stdout))
        counts: Counter[str] = Counter()
        took: list[float] = []
        clients = [Client(url, secret.encode(), seed, counts, took) for seed in range(CLIENTS)]
        over = asyncio.Event()
        running = asyncio.gather(*(client.run(over) for client in clients))
        end = asyncio.create_task(awake(seconds))
        end.add_done_callback(lambda _: over.set())
        memory: list[int] = []
        while not running.done():
            memory.append(resident_bytes(server.pid))
            await asyncio.wait((running,), timeout=SAMPLE_SECONDS)
        await running
        async with httpx.AsyncClient(timeout=None) as http:
            for _ in range(SETTLE_TRIES):
                headers = {"authorization": f"Bearer {secret}"}
                metrics = (await http.get(f"{url}/metrics", headers=headers)).text
                left_over = float(re.search(r"^sortie_origin_requests_in_flight (\S+)", metrics, re.M)[1])
                if left_over == 0:
                    break
                await asyncio.sleep(1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(signal.SIGTERM)
        status = await server.wait()
    await drain
    settled = memory[int(len(memory) * SETTLE_SHARE) :]
    tenth = max(1, len(settled) // 10)
    early, late = (sum(part) / len(part) for part in (settled[:tenth], settled[-tenth:]))
    computed = total(metrics, "tokens_computed_total")
    return {
        "seconds": seconds,
        "outcomes": dict(counts),
        "tokens_per_second": computed / seconds,
        "prompt_tokens": total(metrics, "prompt_tokens_total"),
        "cached_share": total(metrics, 'prompt_tokens_total{state="cached"}') / total(metrics, "prompt_tokens_total"),
        "blocks_evicted": total(metrics, "cache_evicted_total"),
        "median_seconds": statistics.median(took),
        "longest_seconds": max(took),
        # At each tenth of the time.
        "memory_mb": [round(memory[at * (len(memory) - 1) // 10] / 1e6) for at in range(11)],
        "growth": late / early - 1,
        "in_flight_at_the_end": left_over,
        "exit_status": status,
    }


def total(metrics: str, name: str) -> float:
    """A metric's sum over its labels, or its value at those named."""
    return sum(float(n) for n in re.findall(rf"^sortie_origin_{re.escape(name)}\S* (\S+)", metrics, re.M))


async def swallow(stream: asyncio.StreamReader) -> None:
    """Reads the server's log, so that it never waits for a reader."""
    while await stream.read(1 << 16):
        pass


def _main() -> None:
    parser = argparse.ArgumentParser(prog="sortie.bench.soak", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("../models/tiny"))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    result = asyncio.run(soak(args.checkpoint, args.seconds, args.threads))
    print(table(["outcome", "requests"], [[name, n] for name, n in sorted(result["outcomes"].items())]), end="\n\n")
    finish({"bench": "soak", **result})
    good = {"answered", "refused", "left"}
    if set(result["outcomes"]) - good or result["in_flight_at_the_end"] or result["exit_status"]:
        raise UserError("a request was neither answered nor refused, or stayed behind")
    if result["growth"] > MOST_GROWTH:
        raise UserError(f"memory grew by {result['growth']:.1%}")


if __name__ == "__main__":
    run_command(_main)
