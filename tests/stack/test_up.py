"""`make up` itself: the real processes, from nothing to healthy to nothing."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chatire.stack.ports import free_port
from chatire.stack.service import Health

ROOT = Path(__file__).resolve().parents[2]
READY = "Chatire is ready"
DEADLINE = 120.0  # seconds; an empty database takes about 6 on two idle cores

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


class Up:
    """A `python -m chatire.stack up` of its own, with its output."""

    def __init__(self, state_dir: Path, **environment: str) -> None:
        self.ports = {
            name: free_port() for name in ("WEB_PORT", "WS_PORT", "WORKER_HEALTH_PORT")
        } | {name: int(port) for name, port in environment.items() if name.endswith("_PORT")}
        inherited = {
            name: value
            for name, value in os.environ.items()
            # A developer's or the test run's own settings are not the stack's.
            if name not in {"DATABASE_URL", "SECRET_KEY", "CHATIRE_ENV", "LOG_LEVEL"}
            and not name.startswith(("OPENAI_", "DJANGO_"))
        }
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "chatire.stack", "up"],
            cwd=ROOT,
            env={
                **inherited,
                **{name: str(port) for name, port in self.ports.items()},
                **environment,
                "CHATIRE_STATE_DIR": str(state_dir),
                # As in a terminal, where it is the default.
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line)
            if READY in line:
                self._ready.set()
        self._ended.set()
        self._ready.set()

    def wait_until_ready(self) -> None:
        assert self._ready.wait(DEADLINE)
        assert not self._ended.is_set(), "".join(self.lines)

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self._popen.pid).children(recursive=True)

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        status = self._popen.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self.wait()
        assert self._popen.stdout is not None
        self._popen.stdout.close()


@pytest.fixture
def up(state_dir) -> Iterator[type[Up]]:
    started: list[Up] = []

    def start(**environment: str) -> Up:
        started.append(Up(state_dir, **environment))
        return started[-1]

    yield start
    for stack in started:
        stack.close()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run when the deadline has passed."""
    _, left = psutil.wait_procs(processes, timeout=30)
    return [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def test_stack_comes_up_from_nothing_and_leaves_nothing(up):
    stack = up()
    stack.wait_until_ready()
    assert all(Health(port).answers() for port in stack.ports.values())
    processes = stack.processes()
    assert {"postgres", "sh"} & {process.name() for process in processes} == {"postgres"}
    assert len(processes) > 8

    stack.signal(signal.SIGKILL)
    stack.wait()
    assert alive(processes) == []

    # That does not prevent another start, from which it goes in order.
    stack = up()
    stack.wait_until_ready()
    processes = stack.processes()
    stack.signal(signal.SIGINT)
    assert stack.wait() == 0
    # At once: orderly means that nothing is left when the stack itself has ended.
    assert [process for process in processes if process.is_running()] == []
    stopping = [line for line in stack.lines if "| Stopping" in line]
    assert [line.split("Stopping ")[1].strip() for line in stopping] == [
        "web, ws, worker",
        "model",
        "database",
    ]


def test_taken_port_ends_it_in_one_line_before_anything_starts(up, state_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = up(WS_PORT=str(port))
        assert stack.wait() == 1
    text = "".join(stack.lines)
    assert f"ERROR: Port {port}, wanted by ws, is taken" in text
    assert "Traceback" not in text
    assert not (state_dir / "postgres").exists()


def test_second_stack_in_the_same_folder_is_refused(up):
    first = up()
    # Its lock is taken before it says its first word.
    while not first.lines:
        first._ready.wait(0.05)
    second = up()
    assert second.wait() == 1
    assert "ERROR: Chatire is running already (pid" in "".join(second.lines)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql://u:swordfish@127.0.0.1:1/x", "connection refused"),
        ("127.0.0.1/swordfish", "is not a postgresql:// url"),
    ],
)
def test_database_that_does_not_answer_is_told_in_one_line_without_its_password(up, url, cause):
    stack = up(DATABASE_URL=url)
    assert stack.wait() == 1
    (line,) = [line for line in stack.lines if "ERROR:" in line]
    assert "DATABASE_URL" in line
    assert cause in line.lower()
    assert "swordfish" not in "".join(stack.lines)
    assert "Traceback" not in "".join(stack.lines)
