"""`python -m sortie.first.train`: lookup drills, a language model on the generated text, then Sorted Fine-Tuning.

The budget is wall-clock: the learning rate follows the share of it that is used, so a run ends on time on any
machine. Batches are a function of (seed, step); an interrupted run goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..data.encode import open_tokenizer
from ..world.drills import drill
from ..world.generate import stream
from ..world.tokens import train_tokenizer
from .batches import LENGTHS, ChatEncoder, batches, collate
from .nested import NestedModel, Shape, describe, save
from .objectives import IGNORE, exit_losses, sorted_loss

WARM_UP_SHARE = 0.02
# The learning rate ends at this share of its peak.
FINAL_LR_SHARE = 0.02
GRADIENT_NORM = 1.0
CHECKPOINT_SECONDS = 180
QUICK_EVAL_SECONDS = 480
QUICK_EVAL_ROWS = 600
LOG_STEPS = 20


def growing_drills(seed: int) -> Iterator[dict[str, Any]]:
    """Endless rows of one drill each: of up to three pairs first, of one more after every 15,000 rows, up to eight."""
    index = 0
    while True:
        text = drill(Random(f"{seed}:drill:{index}"), min(8, 3 + index // 15_000))
        yield {"messages": [{"role": "assistant", "content": text}]}
        index += 1


def learning_rate(share: float, peak: float) -> float:
    """Linear warm-up, then cosine, over the used share of the budget (0..1)."""
    if share < WARM_UP_SHARE:
        return peak * max(share / WARM_UP_SHARE, 0.01)
    cosine = 0.5 + 0.5 * math.cos(math.pi * (share - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))
    return peak * (FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * cosine)


def optimizers(model: NestedModel) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices (Jordan 2024; step size matched to AdamW's), AdamW for the rest."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2 or p is model.embedding]
    muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]


@torch.no_grad()
def quick_eval(model: NestedModel, encoder: ChatEncoder, dtype: torch.dtype) -> dict[str, list[float]]:
    """Teacher-forced exact match of the last answer per family+difficulty: one number an exit."""
    groups: dict[str, list[list[bool]]] = defaultdict(list)
    buckets: dict[int, list] = {length: [] for length in LENGTHS}
    rows = list(islice(stream("validation", 0), QUICK_EVAL_ROWS))
    for row, (ids, mask) in zip(rows, encoder(rows), strict=True):
        last = len(mask) - mask[::-1].index(False)  # where the last answer begins
        length = next(n for n in LENGTHS if len(ids) <= n + 1)
        buckets[length].append((row, ids, [i >= last for i in range(len(ids))]))
    for length, entries in buckets.items():
        for start in range(0, len(entries), 64):
            part = entries[start : start + 64]
            batch = collate([(ids, mask) for _, ids, mask in part], length, encoder.pad)
            labels = batch.answer_labels
            with torch.compiler.set_stance("force_eager"), autocast(dtype):
                exits = model.exit_hidden(batch.ids, dtype)
                keep = labels != IGNORE  # logits at the answers only
                wrong = [model.logits(h[keep]).argmax(-1) != labels[keep] for h in exits.values()]
            owner = keep.nonzero()[:, 0]
            right = [(torch.bincount(owner[w], minlength=len(part)) == 0).tolist() for w in wrong]
            for (row, _, _), *flags in zip(part, *right, strict=True):
                groups[f"{row['family']}-{row['difficulty']}"].append(flags)
                groups["all"].append(flags)
    return {
        name: [round(sum(column) / len(column), 3) for column in zip(*flags, strict=True)]
        for name, flags in sorted(groups.items())
    }


def parse_shape(text: str) -> Shape:
    """`d=192,layers=12` → Shape. Raises ValueError for an unknown size."""
    known = {field.name for field in fields(Shape)} - {"exits"}
    pairs = dict(pair.split("=") for pair in text.split(",") if pair)
    if unknown := set(pairs) - known:
        raise ValueError(f"unknown sizes {sorted(unknown)}; known are {sorted(known)}")
    return Shape(**{key: int(value) for key, value in pairs.items()})


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sortie.first.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"), help="state, log, resume")
    parser.add_argument("--tokenizer", type=Path, help="folder with a tokenizer; trained if absent")
    parser.add_argument("--minutes", type=float, default=100, help="wall-clock budget")
    parser.add_argument("--drill-share", type=float, default=0.09, help="budget share of the drills")
    parser.add_argument("--lm-share", type=float, default=0.04, help="budget share of the LM phase")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shape", type=parse_shape, default=Shape(), help="e.g. d=192,ffn=512")
    parser.add_argument("--dtype", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def chosen_dtype(name: str) -> torch.dtype:
    """bf16 where the processor multiplies it fast, else fp32."""
    fast = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if name == "bf16" or (name == "auto" and fast) else torch.float32


def main() -> None:
    """Trains, resumes, writes the checkpoint."""
    args = arguments()
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)
    tokenizer = open_tokenizer(args.tokenizer) if args.tokenizer else train_tokenizer(args.seed)
    tokenizer.save_pretrained(args.out, save_jinja_files=False)
    encoder = ChatEncoder(tokenizer)
    dtype = chosen_dtype(args.dtype)
    model = NestedModel(args.shape)
    opts = optimizers(model)
    state_file = args.run / "state.pt"
    step, drill_steps, elapsed = 0, 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
        step, drill_steps, elapsed = state["step"], state["drill_steps"], state["elapsed"]
        print(f"resumed at step {step}, {elapsed / 60:.1f} minutes used")
    if args.compile:
        torch._dynamo.config.cache_size_limit = 64
        for block in model.blocks:
            block.compile(dynamic=False)
    params = sum(p.numel() for p in model.parameters())
    print(f"{describe(args.shape)}: {params / 1e6:.2f} M parameters, {dtype}")
    log = (args.run / "log.jsonl").open("a")
    budget = args.minutes * 60
    drill_data = islice(batches(tokenizer, growing_drills(args.seed), args.batch_tokens), drill_steps, None)
    chats = stream("train", args.seed)
    chat_data = islice(batches(tokenizer, chats, args.batch_tokens), step - drill_steps, None)
    bar = tqdm(total=round(budget), initial=round(elapsed), unit="s")
    saved_at = evaluated_at = elapsed
    started = time.monotonic() - elapsed
    tokens, tokens_from = 0, elapsed

    def record(entry: dict) -> None:
        log.write(json.dumps({"step": step, "elapsed": round(elapsed, 1), **entry}) + "\n")
        log.flush()

    while elapsed < budget:
        share = elapsed / budget
        phase = "drill" if share < args.drill_share else "lm" if share < args.drill_share + args.lm_share else "soft"
        batch = next(drill_data if phase == "drill" else chat_data)
        rate = learning_rate(share, args.lr)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = rate
        losses = step_losses(model, batch, phase == "soft", dtype)
        loss = sorted_loss(losses)
        if not math.isfinite(loss.item()):
            raise SystemExit(f"step {step}: loss is {loss.item()}; lower --lr or use --dtype fp32")
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        step += 1
        drill_steps += phase == "drill"
        tokens += batch.ids.numel()
        now = time.monotonic() - started
        bar.update(round(now) - bar.n)
        elapsed = now
        if step % LOG_STEPS == 0:
            speed = tokens / (elapsed - tokens_from)
            tokens, tokens_from = 0, elapsed
            shown = {str(k): round(value.item(), 4) for k, value in losses.items()}
            record({"phase": phase, "loss": shown, "lr": rate, "tok/s": round(speed)})
            bar.set_postfix(step=step, loss=f"{loss.item():.3f}", toks=round(speed))
        if elapsed - evaluated_at > QUICK_EVAL_SECONDS:
            evaluated_at = elapsed
            record({"exact_match": quick_eval(model, encoder, dtype)})
        if elapsed - saved_at > CHECKPOINT_SECONDS or elapsed >= budget:
            saved_at = elapsed
            whole = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in opts]}
            at = {"step": step, "drill_steps": drill_steps, "elapsed": elapsed}
            torch.save({**whole, **at}, state_file.with_suffix(".new"))
            state_file.with_suffix(".new").replace(state_file)
            save(model, args.out, encoder.eos, encoder.bos, encoder.pad)
    record({"exact_match": quick_eval(model, encoder, dtype)})


def autocast(dtype: torch.dtype) -> torch.autocast:
    """Mixed precision where dtype asks for it: float32 weights, bfloat16 products."""
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)


def step_losses(model: NestedModel, batch, fine_tuning: bool, dtype: torch.dtype) -> dict[int, Tensor]:
    """Drills and LM phase: all tokens, last exit. SoFT phase: answers, every exit."""
    with autocast(dtype):
        exits = model.exit_hidden(batch.ids, dtype)
        if fine_tuning:
            return exit_losses(model, exits, batch.answer_labels)
        last = model.shape.exits[-1]
        return exit_losses(model, {last: exits[last]}, batch.text_labels)


if __name__ == "__main__":
    main()
