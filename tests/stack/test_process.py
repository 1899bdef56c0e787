"""Children: explained, stopped whole, and never left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from chatire.stack.process import Process

DEADLINE = 20.0  # seconds
ROOT = Path(__file__).resolve().parents[2]

# Ignores SIGTERM, and has a child that does too; says its own and the child's id.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""

# Starts a child that ignores SIGTERM, says its process id, and waits.
PARENT = """
import os, time
from chatire.stack.process import Process
child = Process(
    "thing",
    ["sh", "-c", "trap '' TERM; echo on; exec sleep 600"],
    env=dict(os.environ),
    cwd="/",
    on_line=lambda line: print(child.pid, flush=True),
)
child.start()
time.sleep(600)
"""


class Output:
    """Collects a process's lines and waits for the first."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.first = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.first.set()


@pytest.fixture
def process() -> Callable[..., Process]:
    def make(*command: str, **options) -> Process:
        return Process("thing", command, env=dict(os.environ), cwd="/", **options)

    return make


def wait_until_gone(*pids: int) -> None:
    """Wait until none of the processes runs; fail after DEADLINE."""
    processes = []
    for pid in pids:
        try:
            processes.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=DEADLINE)
    # Orphans of a container without an init stay as zombies: dead all the same.
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_exit_status_and_last_words_are_told(process):
    child = process("sh", "-c", "echo first; echo the cause >&2; exit 3")
    child.start()
    assert child.wait(DEADLINE)
    assert child.explain_exit() == "exited with status 3: the cause"


def test_death_by_signal_is_told(process):
    child = process("sh", "-c", "kill -SEGV $$")
    child.start()
    assert child.wait(DEADLINE)
    assert child.explain_exit() == "was killed by SIGSEGV"


def test_command_that_does_not_exist_is_told(process):
    child = process("/no/such/command")
    child.start()
    assert child.wait(DEADLINE)
    assert "No such file or directory" in child.explain_exit()


def test_exit_is_reported_after_the_last_line(process):
    events: list[str] = []
    done = threading.Event()

    def on_exit(_: Process) -> None:
        events.append("exit")
        done.set()

    child = process("sh", "-c", "echo one; echo two", on_line=events.append, on_exit=on_exit)
    child.start()
    assert done.wait(DEADLINE)
    assert events == ["one", "two", "exit"]


def test_child_that_ignores_sigterm_is_killed_with_its_own_children(process):
    output = Output()
    child = process(sys.executable, "-c", STUBBORN, on_line=output)
    child.start()
    assert output.first.wait(DEADLINE)
    pids = [int(word) for word in output.lines[0].split()]
    assert not child.stop(timeout=0.2)
    wait_until_gone(*pids)


def test_what_a_child_leaves_behind_is_killed(process):
    output = Output()
    child = process("sh", "-c", "sleep 600 & echo $!; exit 0", on_line=output)
    child.start()
    assert child.wait(DEADLINE)
    wait_until_gone(int(output.lines[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
def test_child_dies_with_a_parent_that_is_killed():
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert parent.stdout is not None
    with parent, parent.stdout as told:
        pid = int(told.readline())
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(pid)
