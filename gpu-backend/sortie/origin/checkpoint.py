"""A checkpoint folder as an origin serves it: its name, its fingerprint, its model on a device."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import UserError
from ..nested import NestedModel, open_checkpoint

# Hex digits of the digest that are kept, as scripts/export/fingerprint.ts keeps them.
DIGITS = 16
NUMERICS = {torch.float32: "fp32", torch.bfloat16: "bf16"}
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """Weights on a device, and what names them."""

    name: str
    fingerprint: str
    numerics: str
    model: NestedModel


def load_checkpoint(folder: Path, device: torch.device, dtype: torch.dtype, name: str | None = None) -> Checkpoint:
    """Reads a folder of safetensors, sharded or not, through memory maps. Raises UserError for one that is none."""
    model = open_checkpoint(folder, dtype=dtype).to(device)
    return Checkpoint(name or folder.resolve().name, fingerprint(folder), NUMERICS[dtype], model)


def fingerprint(folder: Path) -> str:
    """First 16 hex digits of SHA-256 over config.json and each weight file, ascending by name."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for name in weight_files(folder):
        with (folder / name).open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()[:DIGITS]


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold the weights. Raises UserError where there are none."""
    if (folder / INDEX).exists():
        return sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
    if not (folder / "model.safetensors").exists():
        raise UserError(f"{folder} has no model.safetensors")
    return ["model.safetensors"]
