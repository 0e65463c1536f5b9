"""A queue of commands: each runs once, in order; what is done stays done.

A job is done when RUNS/NAME/done.json exists. An interrupted job is started again by the next run of the queue;
training then goes on from its own state.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError

DONE = "done.json"
LOG = "output.log"
# Lines of a failed job's output that are shown.
SHOWN_LINES = 15


@dataclass(frozen=True)
class Job:
    """A Python module's command line: `python -m MODULE ARGUMENTS`."""

    name: str
    module: str
    arguments: tuple[str, ...]


def run_queue(jobs: Sequence[Job], runs: Path) -> None:
    """Runs what is not done yet. Raises UserError where a job fails; the rest then waits."""
    if len({job.name for job in jobs}) != len(jobs):
        raise ValueError("two jobs of one name")
    waiting = [job for job in jobs if not (runs / job.name / DONE).exists()]
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="job")
    for job in waiting:
        bar.set_description(job.name)
        run_job(job, runs / job.name)
        bar.update()
    bar.close()


def run_job(job: Job, folder: Path) -> None:
    """Runs one job in a process of its own and marks it done. Raises UserError where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (folder / LOG).open("ab") as output:
        command = [sys.executable, "-m", job.module, *job.arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        lines = (folder / LOG).read_text(errors="replace").replace("\r", "\n").splitlines()[-SHOWN_LINES:]
        code = os.waitstatus_to_exitcode(status)
        raise UserError(f"{job.name} failed ({code}); the end of {folder / LOG}:\n" + "\n".join(lines))
    record = {
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": used.ru_maxrss // 1024,
    }
    (folder / DONE).write_text(json.dumps(record) + "\n")
