"""`python -m sortie.experiments.report`: tables, JSON and depth-quality plots of the experiments' saved scores."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import UserError, run_command
from ..evaluation.report import methods_markdown
from .arms import SFT
from .queue import DONE
from .results import METRICS, summary

SHOWN = {"exact_match": "exact match, %", "nll": "NLL, nats per answer token"}
SCORES = "-scores"
# Exact match of the best arm, in percent, below which likelihoods alone are shown.
LEAST_MATCH = 10.0


def comparisons(runs: Path) -> dict[str, list[Path]]:
    """{comparison: folders of scores} of the finished score jobs; the seeds of one experiment are one comparison."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(runs.glob(f"*{SCORES}")):
        if (folder / DONE).exists():
            name = folder.name.removesuffix(SCORES)
            found.setdefault("seeds" if name.startswith("seed") else name, []).append(folder)
    return found


def arms_table(comparison: dict[str, Any], metric: str) -> str:
    """One row an arm, one column an exit; an arm's other seeds in brackets as their range."""
    arms = comparison["arms"]
    exits = sorted({k for cells in arms.values() for k in cells}, key=int)
    lines = [f"| {SHOWN[metric]} | " + " | ".join(f"exit {k}" for k in exits) + " |"]
    lines.append("|---|" + "---|" * len(exits))
    digits = 1 if metric == METRICS[0] else 3
    for arm, cells in arms.items():
        shown = [f"{cells[k][metric]:.{digits}f}" if k in cells else "" for k in exits]
        lines.append(f"| {arm} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def differences_table(comparison: dict[str, Any], metric: str) -> str:
    """One row a difference with its 95 % interval."""
    lines = [f"| {SHOWN[metric]}, mean over rows | exit | difference | 95 % interval | aim | met |"]
    lines.append("|---|---|---|---|---|---|")
    digits = 2 if metric == METRICS[0] else 3
    for found in comparison["differences"]:
        if found["metric"] != metric:
            continue
        aim, met = ("", "") if "margin" not in found else (f"≥ {found['margin']}", "yes" if found["met"] else "no")
        low, high = (f"{found[end]:+.{digits}f}" for end in ("low", "high"))
        lines.append(
            f"| {found['ours']} − {found['theirs']} | {found['exit']} | {found['mean']:+.{digits}f} | "
            f"{low} … {high} | {aim} | {met} |"
        )
    return "\n".join(lines)


def costs_table(costs: dict[str, dict[str, float]]) -> str:
    """Step time and memory of each objective, as ratios to SFT's."""
    lines = [
        "| objective | step, CPU s | ratio to sft | memory of the steps, MiB | ratio to sft |",
        "|---|---|---|---|---|",
    ]
    for name, found in costs.items():
        ratios = [found[key] / costs[SFT][key] for key in ("step_cpu_seconds", "step_mib")]
        time_, memory = f"{found['step_cpu_seconds']:.3f}", f"{found['step_mib']:.0f}"
        lines.append(f"| {name} | {time_} | {ratios[0]:.2f} | {memory} | {ratios[1]:.2f} |")
    return "\n".join(lines)


def plot(comparison: dict[str, Any], metric: str, path: Path) -> None:
    """Quality over depth, one line an arm (SVG)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # The same small file from the same figures.
    matplotlib.rcParams.update({"svg.hashsalt": "sortie", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(figsize=(6, 3.8))
    for arm, cells in comparison["arms"].items():
        exits = sorted(cells, key=int)
        axes.plot([int(k) for k in exits], [cells[k][metric] for k in exits], marker="o", label=arm)
    axes.set_xlabel("exit (layers)")
    axes.set_ylabel(SHOWN[metric])
    if metric == "nll":
        axes.set_yscale("log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def gather(runs: Path) -> dict[str, Any]:
    """All that an experiment's folder holds. Raises UserError where nothing is scored yet."""
    found = {name: summary(folders) for name, folders in comparisons(runs).items()}
    if not found:
        raise UserError(f"{runs} has no finished scores: run `python -m sortie.experiments {runs.name}` first")
    costs = {path.stem: json.loads(path.read_text()) for path in sorted(runs.glob("costs/*.json"))}
    methods = {path.stem: json.loads(path.read_text()) for path in sorted(runs.glob("methods/*.json"))}
    return {"comparisons": found, "costs": costs, "methods": methods}


def exactly_matched(comparison: dict[str, Any]) -> bool:
    """Whether exact match says anything: long answers are hardly ever matched whole."""
    best = max(cell["exact_match"] for cells in comparison["arms"].values() for cell in cells.values())
    return best >= LEAST_MATCH


def markdown(gathered: dict[str, Any]) -> str:
    """The tables of an experiment."""
    parts = []
    for name, comparison in gathered["comparisons"].items():
        parts.append(f"**{name}**: {comparison['rows']} rows, {comparison['seeds']} seed(s)")
        for metric in METRICS if exactly_matched(comparison) else METRICS[1:]:
            parts += [arms_table(comparison, metric), differences_table(comparison, metric)]
    if SFT in gathered["costs"]:
        parts += ["**Costs of a step**", costs_table(gathered["costs"])]
    for name, rows in gathered["methods"].items():
        parts += [f"**Ways to answer, {name}**", methods_markdown(rows)]
    return "\n\n".join(parts)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sortie.experiments.report", description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of experiments: runs/world …")
    parser.add_argument("--out", type=Path, required=True, help="folder of NAME.json and NAME-COMPARISON.svg")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for runs in args.runs:
        gathered = gather(runs)
        (args.out / f"{runs.name}.json").write_text(json.dumps(gathered, indent=1) + "\n", encoding="utf-8")
        for name, comparison in gathered["comparisons"].items():
            metric = METRICS[0] if exactly_matched(comparison) else METRICS[1]
            plot(comparison, metric, args.out / f"{runs.name}-{name}.svg")
        print(f"\n## {runs.name}\n\n{markdown(gathered)}")


if __name__ == "__main__":
    run_command(_main)
