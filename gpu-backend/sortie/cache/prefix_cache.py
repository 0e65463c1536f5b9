"""Blocks of earlier prompts in the host's memory: the engine's thread takes and keeps, others ask for sealed ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from .block import seal
from .byte_lru import ByteLru
from .keys import BlockKey, KeyChain, Owner
from .rows import Rows

# Seconds after which a block is computed anew (docs/storage.md).
TTL_SECONDS = 3600.0


class PrefixCache:
    """Rows of blocks (block.py) of one checkpoint in one arithmetic, by block and last layer."""

    def __init__(
        self, fingerprint: str, numerics: str, max_bytes: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._maker = (fingerprint, numerics)
        self._rows = Rows()
        self.memory: ByteLru[Tensor] = ByteLru(max_bytes, TTL_SECONDS, now, self._rows.give)
        # Held while a row may be written, or read by another thread than the engine's.
        self._lock = threading.Lock()
        # Tenant → the newest epoch seen.
        self._epochs: dict[str, int] = {}

    def chain(self, owner: Owner) -> KeyChain:
        """The keys of a request's blocks. A newer epoch of a tenant's cache makes the older ones forgotten."""
        tenant, epoch = owner.scope.split("/")
        if int(epoch) > self._epochs.get(tenant, -1):
            self._epochs[tenant] = int(epoch)
            with self._lock:
                self.memory.delete_where(lambda name: older(name, tenant, int(epoch)))
        return KeyChain(*self._maker, owner)

    def leading(self, keys: Iterable[BlockKey], last_layer: int) -> list[Tensor]:
        """Rows [E] of the blocks that are held, from the first on; good until the next `put` or `chain`."""
        rows = []
        with self._lock:
            for key in keys:
                row = self.memory.get(key.name(last_layer))
                if row is None:
                    break
                rows.append(row)
        return rows

    def holds(self, key: BlockKey, last_layer: int) -> bool:
        """Whether a block is held; it counts as used now."""
        with self._lock:
            return self.memory.get(key.name(last_layer)) is not None

    def put(self, key: BlockKey, last_layer: int, row: Tensor) -> None:
        """row [E], on the CPU; it is copied."""
        with self._lock:
            self.memory.put(key.name(last_layer), self._rows.take(row), row.nbytes)

    def use(self, keys: Sequence[BlockKey], last_layers: Sequence[int]) -> None:
        """Makes a prefix count as used, its beginning last: without it the rest is worth nothing."""
        with self._lock:
            for last_layer in reversed(last_layers):
                for key in reversed(keys):
                    self.memory.get(key.name(last_layer))

    def sealed(self, wanted: Iterable[tuple[BlockKey, int]], max_bytes: int) -> list[bytes]:
        """Of (block, last layer) the sealed ones, from the first on, up to one that is not held or does not fit."""
        found: list[bytes] = []
        room = max_bytes
        for key, last_layer in wanted:
            with self._lock:
                row = self.memory.get(key.name(last_layer))
                own = None if row is None else row.clone()
            if own is None:
                break
            block = seal(own, key, last_layer)
            room -= len(block)
            if room < 0:
                break
            found.append(block)
        return found


def older(name: str, tenant: str, epoch: int) -> bool:
    """Whether a block's name is of an earlier epoch of a tenant; shared ones are of none."""
    owner, own = name.split("/")[:2]
    return owner == tenant and int(own) < epoch
