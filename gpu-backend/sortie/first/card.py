"""`python -m sortie.first.card`: the model card, from what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..evaluation.report import markdown
from .nested import load

CARD = """---
license: apache-2.0
language: en
tags: [sorted, early-exit, llama]
---
# {name}

A sorted LLaMA of {parameters:.2f} M parameters: {layers} layers, and after each of layers {exits} the network may
stop and read its hidden state through the one final norm and tied head. Every exit is a usable model; the
deeper ones are better at what takes several steps.

| | |
|---|---|
| shape | d {d}, {layers} layers, {heads} heads, {kv} key/value heads, feed-forward {ffn}, context {context} |
| tokenizer | byte-level BPE, {vocab} ids, digits one by one |
| data | generated: closed-book facts, arithmetic, lists, chains, comparisons, dates, units, short texts |
| training | {steps} steps in {minutes:.0f} minutes on two CPU cores: drills, language model, sorted fine-tuning |
| weights | bfloat16 safetensors, transformers' `LlamaForCausalLM` layout; `sorted_exits` in config.json |

Made by

    {recipe}

## What each exit gets right

Printed by `python -m sortie.first.evaluate --checkpoint ../models/tiny`: exact match · mean NLL in nats per answer
token. `family-n` is a family at difficulty n (steps, hops, …).

### Phrasings seen in training, contents not

{seen}

### Phrasings never seen in training

{unseen}

## Limits

Small tables (the times table, days, months, units) and facts are learnt by heart: every entry stands in the training
text, and the test files ask for it in a phrasing it was not taught in. Everything else (lists, lookups, chains, running
calculations, comparisons) is asked of contents that no training text holds.

It knows the small world it was made for and nothing else. It is there to show and test tiered exits, not to be
asked for advice. Facts were written by hand and may be wrong.
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sortie.first.card", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder with eval.json")
    parser.add_argument("--log", type=Path, required=True, help="log.jsonl of the training run")
    parser.add_argument("--recipe", required=True, help="the command that made the checkpoint")
    args = parser.parse_args()
    summary = json.loads((args.checkpoint / "eval.json").read_text())
    entries = [json.loads(line) for line in args.log.read_text().splitlines()]
    last = entries[-1]
    model = load(args.checkpoint)
    shape = model.shape
    card = CARD.format(
        name=args.checkpoint.name,
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        layers=shape.layers,
        exits=", ".join(map(str, shape.exits)),
        d=shape.d,
        heads=shape.heads,
        kv=shape.kv,
        ffn=shape.ffn,
        context=shape.context,
        vocab=shape.vocab,
        steps=last["step"],
        minutes=last["elapsed"] / 60,
        recipe=args.recipe,
        seen=markdown(summary, "test_seen"),
        unseen=markdown(summary, "test_unseen"),
    )
    (args.checkpoint / "README.md").write_text(card)


if __name__ == "__main__":
    main()
