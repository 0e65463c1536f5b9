"""Three ways to an answer: one exit throughout, the first confident exit for each token, drafts by a shallow exit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..nested import NestedModel
from .segments import SegmentedSequence


@dataclass(frozen=True)
class Generation:
    """ids without the end token; what producing them cost."""

    ids: list[int]
    # Exit that chose each id, the end token's last.
    exits: list[int]
    # Runs of one layer on one token, from the prompt's last on: the first that chooses an id.
    layer_runs: int
    # Drafted ids that the deepest exit would have chosen too, and all drafted ids.
    accepted: int = 0
    drafted: int = 0

    @property
    def layers_per_token(self) -> float:
        """Mean layer runs for each chosen id, end token included."""
        return self.layer_runs / max(1, len(self.exits))


@torch.inference_mode()
def greedy(model: NestedModel, prompt: list[int], exit_layer: int, most: int, end: int) -> Generation:
    """The most probable token of one exit, again and again, at most `most` of them."""
    return dynamic(model, prompt, {k: 0.0 if k == exit_layer else 1.0 for k in model.exits}, most, end)


@torch.inference_mode()
def dynamic(model: NestedModel, prompt: list[int], thresholds: dict[int, float], most: int, end: int) -> Generation:
    """Instance-aware dynamic inference (Sorted LLaMA, section 4.2; after CALM, Schuster et al. 2022).

    A token is chosen by the first exit whose greatest probability is strictly above its threshold, by the deepest exit
    where none is. The prompt runs as deep as its next token needs. Keys and values of skipped layers are filled in,
    exactly, when a later token first goes that deep.
    """
    sequence = SegmentedSequence(model, len(prompt) - 1)
    sequence.feed(prompt)
    ids: list[int] = []
    chosen_by: list[int] = []
    while len(chosen_by) < most:
        for exit_layer in model.exits:
            deepest = exit_layer == model.exits[-1]
            threshold = thresholds.get(exit_layer, 1.0)
            if not deepest and threshold >= 1.0:
                continue  # no probability is above it
            arrived = sequence.run_to(exit_layer)
            best, confidence = choose(model, arrived[:, -1], exit_layer)
            if deepest or confidence > threshold:
                break
        chosen_by.append(exit_layer)
        if best == end:
            break
        ids.append(best)
        sequence.feed([best])
    return Generation(ids, chosen_by, sequence.layer_runs)


def choose(model: NestedModel, hidden: Tensor, exit_layer: int) -> tuple[int, float]:
    """Hidden state [1, d] → the most probable id and its probability."""
    probabilities = model.logits(hidden, exit_layer)[0].float().softmax(-1)
    confidence, best = probabilities.max(-1)
    return int(best), float(confidence)


@torch.inference_mode()
def speculative(model: NestedModel, prompt: list[int], draft_exit: int, drafts: int, most: int, end: int) -> Generation:
    """Self-speculative decoding at temperature 0: a shallow exit drafts, the deepest verifies.

    The verification starts from the hidden states the draft left behind, so no layer runs twice for a token that is
    accepted. The ids are those of `greedy` at the deepest exit (up to ties of rounding between batch sizes).
    """
    deepest = model.exits[-1]
    sequence = SegmentedSequence(model, len(prompt) - 1)
    sequence.feed(prompt)
    last = sequence.run_to(deepest)[:, -1]
    best, _ = choose(model, last, deepest)
    ids: list[int] = []
    chosen = [deepest]
    accepted = drafted = 0
    while best != end and len(chosen) < most:
        ids.append(best)
        start = sequence.length
        sequence.feed([best])
        guesses: list[int] = []
        # The last of `most` ids needs no guess before it.
        for _ in range(min(drafts, most - len(chosen) - 1)):
            hidden = sequence.run_to(draft_exit)
            guess, _ = choose(model, hidden[:, -1], draft_exit)
            if guess == end:
                break
            guesses.append(guess)
            sequence.feed([guess])
        drafted += len(guesses)
        verified = model.logits(sequence.run_to(deepest)[0], deepest).argmax(-1).tolist()
        agreed = 0
        while agreed < len(guesses) and guesses[agreed] == verified[agreed]:
            agreed += 1
        accepted += agreed
        ids += guesses[:agreed]
        chosen += [deepest] * (agreed + 1)
        best = verified[agreed]
        sequence.crop(start + 1 + agreed)
    if best != end:
        ids.append(best)
    return Generation(ids, chosen, sequence.layer_runs, accepted, drafted)
