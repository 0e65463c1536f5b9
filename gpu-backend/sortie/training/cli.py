"""`sortie-train`: fine-tunes a checkpoint with one of the objectives."""

from __future__ import annotations

import os

from ..errors import run_command
from .config import config_of
from .loop import train


def _main() -> None:
    config = config_of()
    result = train(config)
    if os.environ.get("RANK", "0") != "0":
        return
    shown = ", ".join(f"exit {k}: {loss}" for k, loss in result.held_out.items())
    print(f"{config.out}: {result.steps} steps in {result.seconds / 60:.1f} minutes, best at {result.best_step}")
    print(f"held-out cross-entropy at the end, nats per token: {shown}")


def main() -> None:
    """The command line."""
    run_command(_main)
