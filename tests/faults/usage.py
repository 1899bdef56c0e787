"""What the processes take of the machine, from the beginning of a run to its end: a leak shows."""

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.stack import Stack

PERIOD = 5.0  # seconds between samples
WARM = 20.0  # seconds after which a process has loaded what it needs
SUITE = "suite and model"
_PROC = Path("/proc")


@dataclass(frozen=True)
class Sample:
    """One process with its children. `memory` is in MB, shared pages counted once."""

    memory: float
    files: int


@dataclass
class Usage:
    """Of one process of the stack, over all its restarts."""

    first: Sample
    last: Sample
    most: Sample
    # When the process that was sampled last was seen first, and how it was when it was warm.
    pid: int
    since: float
    warm: Sample | None


class Watch:
    """Samples every process of a stack, and this one, again and again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.usages: dict[str, Usage] = {}

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await asyncio.to_thread(self.sample)
            await asyncio.sleep(PERIOD)

    def sample(self) -> None:
        """Sample once. Where there is no /proc, nothing is known."""
        if not (_PROC / "self" / "smaps_rollup").exists():
            return
        children = _children()
        processes = {
            name: process.pid for name, process in self._stack.processes.items() if process.running
        }
        for name, pid in {**processes, SUITE: os.getpid()}.items():
            # The suite's children are the others.
            family = [pid] if name == SUITE else _family(pid, children)
            sample = _sample(family)
            if sample.files:
                self._note(name, pid, sample)

    def _note(self, name: str, pid: int, sample: Sample) -> None:
        usage = self.usages.get(name)
        if usage is None:
            self.usages[name] = Usage(sample, sample, sample, pid, time.monotonic(), None)
            return
        usage.last = sample
        usage.most = Sample(
            max(usage.most.memory, sample.memory), max(usage.most.files, sample.files)
        )
        if usage.pid != pid:
            usage.pid, usage.since, usage.warm = pid, time.monotonic(), None
        if usage.warm is None and time.monotonic() - usage.since > WARM:
            usage.warm = sample


def _children() -> dict[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text()
                children[int(stat.rpartition(")")[2].split()[1])].append(int(folder.name))
    return children


def _family(pid: int, children: dict[int, list[int]]) -> list[int]:
    return [pid, *(one for child in children.get(pid, ()) for one in _family(child, children))]


def _sample(pids: list[int]) -> Sample:
    kilobytes = files = 0
    for pid in pids:
        # It may end while it is looked at.
        with contextlib.suppress(OSError):
            rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
            line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
            kilobytes += int(line.split()[1])
            files += len(list((_PROC / str(pid) / "fd").iterdir()))
    return Sample(kilobytes / 1024, files)
