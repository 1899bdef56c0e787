"""Runs jobs, each in a fork of a process that has imported the suite but run none of it.

    python -m tests.mutants.server JOBS.jsonl PROCESSES

In the mutated tree, so what it imports is that. Prints a line of JSON for each job that ends. A
fork and what it has started are killed when a test fails or the time is over.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import database
from tests.mutants.modules import SUITES
from tests.mutants.session import end_descendants, run

POLL = 0.02  # seconds


@dataclass
class Child:
    """A fork at work."""

    job: dict[str, Any]
    slot: int
    began: float
    database: str
    outcome: Path


def serve(jobs: list[dict[str, Any]], processes: int) -> None:
    """Run the jobs, `processes` at a time."""
    warm_up()
    waiting = list(reversed(jobs))
    running: dict[int, Child] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            slot = min(set(range(processes)) - {child.slot for child in running.values()})
            pid, child = _start(waiting.pop(), slot)
            running[pid] = child
        time.sleep(POLL)
        for pid, child in list(running.items()):
            late = time.monotonic() - child.began > child.job["seconds"]
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and not late:
                continue
            if not ended:
                end_descendants(pid)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            if not ended:
                os.waitpid(pid, 0)
            del running[pid]
            database.drop(child.database)
            _report(child, None if not ended else os.waitstatus_to_exitcode(status))


def warm_up() -> None:
    """Import what the tests import."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    kept = os.dup(1)
    os.dup2(devnull, 1)
    status = pytest.main(["--collect-only", "-qqq", "-p", "no:cacheprovider", *SUITES])
    os.dup2(kept, 1)
    os.close(kept)
    os.close(devnull)
    if status != pytest.ExitCode.OK:
        sys.exit(f"the suites cannot be collected: pytest exited with {int(status)}")
    threads = [thread.name for thread in threading.enumerate()][1:]
    if threads:
        sys.exit(f"importing the suites has started threads, which no fork has: {threads}")


def _start(job: dict[str, Any], slot: int) -> tuple[int, Child]:
    name = f"mutants_{slot}"
    database.clone(name)
    outcome = Path(f"outcome-{slot}.json").resolve()
    outcome.unlink(missing_ok=True)
    log = Path(f"log-{slot}.txt").resolve()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setsid()
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(1, 2)
            status = run(job, name, outcome)
        finally:
            os._exit(status)
    return pid, Child(job, slot, time.monotonic(), name, outcome)


def _report(child: Child, status: int | None) -> None:
    outcome: dict[str, Any] = {}
    with suppress(FileNotFoundError, json.JSONDecodeError):
        outcome = json.loads(child.outcome.read_text())
    spent = time.monotonic() - child.began
    print(json.dumps({"id": child.job["id"], "status": status, "spent": spent, **outcome}))
    sys.stdout.flush()


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    serve([json.loads(line) for line in lines], int(sys.argv[2]))
