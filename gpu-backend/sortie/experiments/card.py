"""`python -m sortie.experiments.card`: the model card of models/tiny, from what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import run_command
from ..evaluation.report import markdown, methods_markdown
from ..nested import open_checkpoint

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
| weights | bfloat16 safetensors, transformers' `LlamaForCausalLM` layout; `sorted_exits` in config.json |

{made}

## What each exit gets right

Printed by `sortie-eval --checkpoint ../models/tiny --methods {prompts}`: exact match · mean NLL in nats per answer
token. `family-n` is a family at difficulty n (steps, hops, …).

### Phrasings seen in training, contents not

{seen}

### Phrasings never seen in training

{unseen}

## Ways to answer

{prompts} test rows, one at a time in PyTorch on a CPU. `dynamic > c`: a token leaves at the first exit whose
confidence is above c. `draft by exit k`: self-speculative decoding, the deepest exit's answers exactly.

{methods}

## Limits

Small tables (the times table, days, months, units) and facts are learnt by heart: every entry stands in the training
text, and the test files ask for it in a phrasing it was not taught in. Everything else (lists, lookups, chains, running
calculations, comparisons) is asked of contents that no training text holds.

It knows the small world it was made for and nothing else. It is there to show and test tiered exits, not to be
asked for advice. Facts were written by hand and may be wrong.
"""


def card(checkpoint: Path, made: str, prompts: int) -> str:
    """The card of a checkpoint with an eval.json; made: how it came to be; prompts: those its methods answered."""
    measured = json.loads((checkpoint / "eval.json").read_text())
    model = open_checkpoint(checkpoint)
    config = model.lm.config
    return CARD.format(
        name=checkpoint.name,
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        layers=model.depth,
        exits=", ".join(map(str, model.exits)),
        d=config.hidden_size,
        heads=config.num_attention_heads,
        kv=config.num_key_value_heads,
        ffn=config.intermediate_size,
        context=config.max_position_embeddings,
        vocab=config.vocab_size,
        made=made,
        prompts=prompts,
        seen=markdown(measured["splits"], "test_seen"),
        unseen=markdown(measured["splits"], "test_unseen"),
        methods=methods_markdown(measured["methods"]),
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.card", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder with eval.json")
    parser.add_argument("--made", required=True, help="Markdown: how the checkpoint was made")
    parser.add_argument("--prompts", type=int, required=True, help="rows that eval.json's methods answered")
    args = parser.parse_args()
    (args.checkpoint / "README.md").write_text(card(args.checkpoint, args.made, args.prompts))


if __name__ == "__main__":
    run_command(_main)
