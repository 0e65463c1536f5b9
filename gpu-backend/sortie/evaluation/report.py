"""Scores summed up: by split, group and exit, as JSON and as Markdown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from .items import Item


@dataclass(frozen=True)
class Score:
    """What one exit made of one item; nll in nats per answer token."""

    item: Item
    exit: int
    right: bool
    f1: float
    nll: float


def summarise(scores: list[Score]) -> dict[str, Any]:
    """{split: {group: {exit: {n, exact_match, f1, nll}}}}; groups: all, each family, each family-difficulty."""
    groups: dict[tuple[str, str, int], list[Score]] = defaultdict(list)
    for score in scores:
        item = score.item
        for group in ("all", item.family, f"{item.family}-{item.difficulty}"):
            groups[item.split, group, score.exit].append(score)
    summary: dict[str, Any] = {}
    for (split, group, exit_layer), members in sorted(groups.items()):
        n = len(members)
        summary.setdefault(split, {}).setdefault(group, {})[str(exit_layer)] = {
            "n": n,
            "exact_match": round(sum(s.right for s in members) / n, 4),
            "f1": round(sum(s.f1 for s in members) / n, 4),
            "nll": round(sum(s.nll for s in members) / n, 4),
        }
    return summary


def markdown(summary: dict[str, Any], split: str) -> str:
    """A table of one split: exact match in percent and NLL, one column an exit."""
    exits = sorted(summary[split]["all"], key=int)
    lines = ["| group | rows | " + " | ".join(f"exit {k}" for k in exits) + " |"]
    lines.append("|---|---|" + "---|" * len(exits))
    for group, cells in summary[split].items():
        shown = [f"{cells[k]['exact_match'] * 100:.1f} % · {cells[k]['nll']:.3f}" for k in exits]
        lines.append(f"| {group} | {cells[exits[0]]['n']} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def methods_markdown(methods: list[dict[str, Any]]) -> str:
    """A table of ways to answer: quality against layers and time."""
    lines = [
        "| method | exact match | layers per token | tokens/s | speed | drafts accepted |",
        "|---|---|---|---|---|---|",
    ]
    for row in methods:
        accepted = "" if row["accepted"] is None else f"{row['accepted'] * 100:.0f} %"
        lines.append(
            f"| {row['method']} | {row['exact_match'] * 100:.1f} % | {row['layers_per_token']:.2f} | "
            f"{row['tokens_per_s']:.0f} | {row['speed']:.2f}× | {accepted} |"
        )
    return "\n".join(lines)
