"""Optimisers and the learning rate's path."""

from __future__ import annotations

import math
import re

import torch

from ..nested import NestedModel
from .config import TrainConfig

# Parameters of a decoder layer: the network's own, or one that an exit has to itself.
LAYER = re.compile(r"\.layers?\.")


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up over warm_up_share of the steps, then a cosine to final_lr_share of the peak."""
    warm_up = max(1, round(config.warm_up_share * steps))
    if step < warm_up:
        return config.lr * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(share, 1.0))
    return config.lr * (config.final_lr_share + (1 - config.final_lr_share) * cosine)


def optimizers(model: NestedModel, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all that trains; or Muon for the layers' matrices (Jordan 2024, step matched to AdamW's) and AdamW
    for the rest. Norms, biases and the embedding do not decay.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [p for name, p in trained.items() if p.ndim == 2 and LAYER.search(name)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained.values() if id(p) not in chosen]
    betas = (0.9, 0.95)
    if config.optimizer == "muon" and matrices:
        muon = torch.optim.Muon(
            matrices, lr=config.lr, weight_decay=config.weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        )
        return [muon, torch.optim.AdamW(rest, lr=config.lr, betas=betas, weight_decay=0.0)]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=betas)]


def set_rate(opts: list[torch.optim.Optimizer], rate: float) -> None:
    """Gives every group of parameters a rate."""
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = rate
