"""What a run writes down: log.jsonl, log.csv, and plots of each exit's loss."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
TABLE = "log.csv"
PLOT = "loss.svg"


class Journal:
    """Appends entries to RUN/log.jsonl; on resume, what came after the resumed step is taken away."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        kept = [entry for entry in read_log(folder) if entry["step"] <= step]
        (folder / LOG).write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")

    def write(self, kind: str, step: int, **values: Any) -> None:
        """One entry: `kind` is `train` or `held-out`."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")

    def close(self) -> None:
        """Writes the table and the plot."""
        entries = read_log(self.folder)
        write_table(entries, self.folder / TABLE)
        plot_losses(entries, self.folder / PLOT)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Entries of a run's log, oldest first; a last line cut short by a kill is left out."""
    if not (folder / LOG).exists():
        return []
    entries = []
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def write_table(entries: list[dict[str, Any]], path: Path) -> None:
    """The log as CSV, a column for each exit's loss."""
    rows = [
        {**{k: v for k, v in entry.items() if k != "loss"}, **{f"exit_{k}": v for k, v in entry["loss"].items()}}
        for entry in entries
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def plot_losses(entries: list[dict[str, Any]], path: Path) -> None:
    """Loss of each exit over the steps: training as a thin line, held-out as a thick one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    exits = sorted({k for entry in entries for k in entry["loss"]}, key=int)
    for i, k in enumerate(exits):
        for kind, width, label in (("train", 0.7, None), ("held-out", 2.0, f"exit {k}")):
            points = [(e["step"], e["loss"][k]) for e in entries if e["kind"] == kind and k in e["loss"]]
            if points:
                axes.plot(*zip(*points, strict=True), color=f"C{i}", linewidth=width, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("cross-entropy (nats per token)")
    axes.set_yscale("log")
    axes.legend(title="held-out")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
