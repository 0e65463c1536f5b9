"""`python -m sortie.golden`: logits of a checkpoint by transformers' own LLaMA, for the exporter's golden test.

The file is JSON: `fingerprint` of the checkpoint, `made_with` (versions), and `prompts`, each with `ids` and `rows`;
a row has a `position` and, per exit, its next-token `logits` as base64 of little-endian float32.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import LlamaForCausalLM

from .data.encode import open_tokenizer

INDEX = "model.safetensors.index.json"
# Hex digits kept of the digest.
FINGERPRINT_DIGITS = 16
READ_BYTES = 1 << 20
# Prompt lengths in ids and the positions kept of each: one token, less than a block of 32, one more than a block,
# and several blocks. Few rows, since each is a whole vocabulary of floats at every exit.
PROMPTS = ((1, (0,)), (20, (19,)), (33, (31, 32)), (150, (64, 149)))


def fingerprint(folder: Path) -> str:
    """First 16 hex digits of SHA-256 over config.json and then every weight file, whole, in order of names.

    The same as `fingerprint` of the exporter (scripts/export/fingerprint.ts).
    """
    names = ["model.safetensors"]
    if (folder / INDEX).exists():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    digest = hashlib.sha256()
    for name in ("config.json", *names):
        with (folder / name).open("rb") as file:
            while chunk := file.read(READ_BYTES):
                digest.update(chunk)
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


def chat_ids(folder: Path, rows: Path) -> list[int]:
    """The chats of a file as one long text, in ids."""
    tokenizer = open_tokenizer(folder)
    ids: list[int] = []
    for line in rows.read_text(encoding="utf-8").splitlines():
        text = tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False)
        ids += tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) >= sum(length for length, _ in PROMPTS):
            return ids
    raise ValueError(f"{rows} is too short")


@torch.inference_mode()
def exit_logits(model: LlamaForCausalLM, ids: list[int], exits: list[int]) -> dict[int, torch.Tensor]:
    """{exit: logits [T, V]}: the residual stream after layer k, through the final norm and the head."""
    streams: dict[int, torch.Tensor] = {}

    def keep(exit_layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            streams[exit_layer] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [model.model.layers[k - 1].register_forward_hook(keep(k)) for k in exits]
    model(torch.tensor([ids]), use_cache=False)
    for handle in hooks:
        handle.remove()
    return {k: model.lm_head(model.model.norm(streams[k]))[0] for k in exits}


def golden(folder: Path, rows: Path) -> dict[str, Any]:
    """The whole document (see the module's docstring)."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    exits = config.get("sorted_exits", [config["num_hidden_layers"]])
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = chat_ids(folder, rows)
    prompts = []
    for length, positions in PROMPTS:
        prompt, ids = ids[:length], ids[length:]
        logits = exit_logits(model, prompt, exits)
        kept = [
            {
                "position": position,
                "logits": {
                    str(k): base64.b64encode(logits[k][position].numpy().astype("<f4").tobytes()).decode()
                    for k in exits
                },
            }
            for position in positions
        ]
        prompts.append({"ids": prompt, "rows": kept})
    return {
        "fingerprint": fingerprint(folder),
        "made_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "prompts": prompts,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sortie.golden", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--rows", type=Path, help="JSON lines of chats (default: CHECKPOINT/validation.jsonl)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    document = golden(args.checkpoint, args.rows or args.checkpoint / "validation.jsonl")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{args.out}: {document['fingerprint']}, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
