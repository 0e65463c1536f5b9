"""Depth against quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot_depth(summary: dict[str, Any], methods: list[dict[str, Any]], path: Path) -> None:
    """Exact match over layers per token: fixed exits of each split as lines, other methods as points (SVG or PNG)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for split, groups in summary.items():
        exits = sorted(groups["all"], key=int)
        quality = [100 * groups["all"][k]["exact_match"] for k in exits]
        axes.plot([int(k) for k in exits], quality, marker="o", label=f"fixed exit, {split}")
    for kind, marker in (("dynamic", "s"), ("draft", "^")):
        points = [(m["layers_per_token"], 100 * m["exact_match"]) for m in methods if m["method"].startswith(kind)]
        if points:
            axes.scatter(*zip(*points, strict=True), marker=marker, label=kind)
    axes.set_xlabel("layers per token")
    axes.set_ylabel("exact match (%)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
