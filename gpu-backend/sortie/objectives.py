"""What a training step minimises: the paper's baselines and ours, as data for one module.

`sft`        cross-entropy of the deepest exit (plain fine-tuning)
`soft`       mean of the cross-entropies of all exits ("Sorted LLaMA", Valipour et al. 2023, section 3)
`sft+ict`    layers frozen, a norm and head of its own for every exit (the paper's early-exit baseline); start it from
             an `sft` checkpoint and train one epoch
`extracted`  the network cut after one exit, that alone fully tuned (the paper's "Extracted + SFT")
`balcony`    layers frozen, a layer of its own for every shallower exit (Balcony, Jamialahmadi et al. 2025)
`soft+`      ours: `sft` and, apart from it, a layer of its own for every shallower exit, half taught by the deepest;
             what `sft` trains comes out as `sft` trains it
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .data.packing import Batch
from .errors import UserError
from .losses import Lesson, exit_losses
from .nested import NestedModel, truncate

WEIGHTS = ("deepest", "uniform", "depth", "half")


@dataclass(frozen=True)
class Objective:
    """Which exits are trained, how much each counts, and what else a step does."""

    name: str
    # Weight of an exit's loss: all on the deepest, all equal, in proportion to its layers, or half of it on the
    # deepest and the rest in equal parts.
    weights: str = "uniform"
    # Share of an exit's loss that is KL(teacher ‖ exit) instead of cross-entropy, 0..1. The teacher is a model that
    # stays as it is, for all exits, or else the deepest exit (without gradient), for the shallower ones.
    distill: float = 0.0
    # Shallower exits trained in one step, drawn anew each step (SortedNet); None for all.
    sampled: int | None = None
    # Chance of leaving out the layer before the deepest in a step, less for the layers before it (LayerSkip); the
    # deepest layer itself always runs.
    layer_dropout: float = 0.0
    # What exits read their hidden state through: `shared`, `linear` or `balcony` (see nested.ExitHead).
    heads: str = "shared"
    # Layers, embedding and the shared norm and head keep their values.
    frozen: bool = False
    # A shallower exit's loss moves what the exit has to itself and nothing else; the deepest's is `sft`.
    apart: bool = False
    # Cut the network after one exit (see `prepare`).
    cut: bool = False

    def __post_init__(self) -> None:
        """Raises UserError for values that cannot be."""
        if self.weights not in WEIGHTS:
            raise UserError(f"exit weights must be one of {', '.join(WEIGHTS)}, not {self.weights!r}")
        if not 0 <= self.distill <= 1 or not 0 <= self.layer_dropout < 1:
            raise UserError("--distill must be in 0..1 and --layer-dropout in 0..1, 1 excluded")
        if self.sampled is not None and self.sampled < 1:
            raise UserError("--sample-exits must be at least 1")
        if self.apart and (self.weights != "uniform" or self.sampled is not None or self.layer_dropout > 0):
            raise UserError(
                f"{self.name} trains each exit apart: --exit-weights, --sample-exits and --layer-dropout are for soft"
            )

    def weight_of(self, exits: tuple[int, ...]) -> dict[int, float]:
        """Weight of each exit's loss; they sum to 1."""
        if self.weights == "deepest":
            return {exits[-1]: 1.0}
        raw = {k: float(k) if self.weights == "depth" else 1.0 for k in exits}
        if self.weights == "half":
            raw[exits[-1]] = max(1.0, len(exits) - 1.0)
        return {k: value / sum(raw.values()) for k, value in raw.items()}


PRESETS = {
    "sft": Objective("sft", weights="deepest"),
    "soft": Objective("soft"),
    "sft+ict": Objective("sft+ict", heads="linear", frozen=True),
    "extracted": Objective("extracted", weights="deepest", cut=True),
    "balcony": Objective("balcony", heads="balcony", frozen=True, distill=0.5),
    # Of all that was tried the one that loses nothing anywhere (docs/log.md, 2026-11-26).
    "soft+": Objective("soft+", heads="balcony", apart=True, distill=0.5),
}


def objective_of(name: str, **changes: object) -> Objective:
    """A preset with changes to it; None leaves a field as it is. Raises UserError for an unknown name."""
    if name not in PRESETS:
        raise UserError(f"unknown objective {name!r}; there are {', '.join(PRESETS)}")
    return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})


class StepLoss(NamedTuple):
    """Sums over the positions that carry loss, in nats: what to minimise, and each exit's cross-entropy."""

    total: Tensor
    exits: dict[int, Tensor]


class SortedObjective(nn.Module):
    """A nested model and its objective; the forward pass gives a step's loss, so that wrappers see all of it."""

    def __init__(
        self, model: NestedModel, objective: Objective, seed: int = 0, teacher: NestedModel | None = None
    ) -> None:
        """teacher: of one vocabulary with the model. Raises UserError where it does not fit."""
        super().__init__()
        if teacher is not None:
            check_teacher(teacher, model, objective)
            teacher.requires_grad_(False).eval()
        self.model = model
        # Not a part of the module: neither trained nor saved nor sharded with it.
        self.__dict__["teacher"] = teacher
        self.objective = objective
        self.weights = objective.weight_of(model.exits)
        self.seed = seed
        if objective.frozen:
            model.lm.requires_grad_(False)

    def draw(self, step: int) -> tuple[dict[int, float], frozenset[int]]:
        """Weights of the exits and the layers left out at a step, a function of (seed, step)."""
        rng = Random(f"{self.seed}:{step}:objective")
        weights = self.weights
        if self.objective.sampled is not None:
            *shallow, deepest = weights
            chosen = {*rng.sample(shallow, min(self.objective.sampled, len(shallow))), deepest}
            weights = {k: weight for k, weight in weights.items() if k in chosen}
            weights = {k: weight / sum(weights.values()) for k, weight in weights.items()}
        depth = self.model.depth
        rate = self.objective.layer_dropout
        skipped = (
            {layer for layer in range(1, depth) if rng.random() < rate * layer / max(depth - 1, 1)} if rate else ()
        )
        return weights, frozenset(skipped)

    def forward(self, batch: Batch, step: int | None = None) -> StepLoss:
        """The loss of a batch at a step, as sums; without a step, the cross-entropy of every exit (evaluation)."""
        if step is None:
            entropy, _ = exit_losses(self.model, self.model.exit_hidden(batch.ids, batch.segments), batch.labels)
            return StepLoss(sum(weight * entropy[k] for k, weight in self.weights.items()), entropy)
        if self.objective.apart and len(self.model.exits) > 1:
            return self.apart(batch)
        weights, skipped = self.draw(step)
        hidden = self.model.exit_hidden(batch.ids, batch.segments, up_to=max(weights), skipped=skipped)
        trained = {k: hidden[k] for k in weights}
        distill = self.objective.distill
        entropy, divergence = exit_losses(
            self.model, trained, batch.labels, distilled=distill > 0, lesson=self.lesson(batch)
        )
        # The deepest exit learns from a teacher, not from itself.
        share = {k: distill if k != max(weights) or self.teacher is not None else 0.0 for k in weights}
        losses = [weight * ((1 - share[k]) * entropy[k] + share[k] * divergence[k]) for k, weight in weights.items()]
        return StepLoss(torch.stack(losses).sum(), {k: loss.detach() for k, loss in entropy.items()})

    def apart(self, batch: Batch) -> StepLoss:
        """The deepest exit's cross-entropy, and that of what the others have to themselves: of no common parameter.

        The two are computed one after the other, so that the first is what `sft` computes, bit for bit.
        """
        model, share = self.model, self.objective.distill
        *shallow, deepest = model.exits
        hidden = model.exit_hidden(batch.ids, batch.segments, apart=True)
        entropy, _ = exit_losses(model, {deepest: hidden[deepest]}, batch.labels)
        lesson = self.lesson(batch) or Lesson(model, hidden[deepest].detach())
        own, divergence = exit_losses(
            model,
            {k: hidden[k] for k in shallow},
            batch.labels,
            distilled=share > 0,
            lesson=lesson,
            apart=True,
        )
        losses = [entropy[deepest], *((1 - share) * own[k] + share * divergence[k] for k in shallow)]
        return StepLoss(torch.stack(losses).sum(), {k: loss.detach() for k, loss in (own | entropy).items()})

    def parts(self) -> list[list[nn.Parameter]]:
        """Parameters that are trained, those of one gradient together."""
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        if not self.objective.apart:
            return [[p for _, p in trained]]
        owners = {name: name.split(".")[1] if name.startswith("exit_heads.") else "" for name, _ in trained}
        return [[p for name, p in trained if owners[name] == owner] for owner in sorted(set(owners.values()))]

    @torch.no_grad()
    def lesson(self, batch: Batch) -> Lesson | None:
        """What the teacher makes of a batch, if there is one."""
        if self.teacher is None:
            return None
        return Lesson(self.teacher, self.teacher.exit_hidden(batch.ids, batch.segments)[self.teacher.depth])


def check_teacher(teacher: NestedModel, model: NestedModel, objective: Objective) -> None:
    """Raises UserError for a teacher that has nothing to say to the model."""
    if teacher.vocabulary != model.vocabulary:
        raise UserError(f"--teacher knows {teacher.vocabulary} ids, the model {model.vocabulary}")
    if objective.distill == 0:
        raise UserError("--teacher needs --distill above 0")


def prepare(model: NestedModel, objective: Objective, cut_at: int | None = None) -> NestedModel:
    """The model an objective trains: with heads of its own, or cut after one exit, where the objective says so.

    Raises UserError where `extracted` is not told its exit.
    """
    if objective.cut:
        if cut_at is None:
            raise UserError("the objective `extracted` needs --cut-at LAYER")
        return truncate(NestedModel(model.lm, sorted({cut_at, model.depth})), cut_at)
    if objective.heads != model.head_kind:
        return NestedModel(model.lm, model.exits, objective.heads)
    return model
