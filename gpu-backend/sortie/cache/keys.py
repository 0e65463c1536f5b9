"""Names of blocks: a key names a block's tokens, all before them, and what computed them (docs/protocol.md, "Keys")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from struct import pack

from ..engine.pages import BLOCK_TOKENS

KEY_FORMAT = "sortie-block/1"
# The scope of marked prefixes. No tenant's: those have an epoch.
SHARED_SCOPE = "shared"


@dataclass(frozen=True)
class Owner:
    """Whose blocks a request reads and leaves: `tenant/epoch`, and how many leading tokens are everybody's."""

    scope: str
    shared_tokens: int = 0


@dataclass(frozen=True)
class BlockKey:
    """A block. key: 64 lower-case hexadecimal digits."""

    scope: str
    key: str

    def name(self, last_layer: int) -> str:
        """Where the state of the block after a segment's last layer is kept, in every store."""
        return f"{self.scope}/{self.key}/{last_layer}"


class KeyChain:
    """The keys of one sequence's whole blocks; each is computed once, however the sequence grows."""

    def __init__(self, fingerprint: str, numerics: str, owner: Owner) -> None:
        self._owner = owner
        self._parent = sha256(f"{KEY_FORMAT}\n{fingerprint}\n{numerics}\n".encode()).digest()
        self._keys: list[BlockKey] = []

    def upto(self, ids: Sequence[int], blocks: int) -> list[BlockKey]:
        """Keys of the first `blocks` blocks of `ids`, which go on what earlier calls were given."""
        for at in range(len(self._keys), blocks):
            end = (at + 1) * BLOCK_TOKENS
            scope = SHARED_SCOPE if end <= self._owner.shared_tokens else self._owner.scope
            text = scope.encode() + b"\0" + pack(f"<{BLOCK_TOKENS}I", *ids[end - BLOCK_TOKENS : end])
            self._parent = sha256(self._parent + text).digest()
            self._keys.append(BlockKey(scope, self._parent.hex()))
        return self._keys[:blocks]
