"""One child process: its output by lines, its exit explained, its whole group ended."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")
KEPT_LINES = 40  # of output, to explain an exit


@dataclass(frozen=True)
class Account:
    """The operating system user that a process runs as."""

    uid: int
    gid: int


def _ignore(_: str) -> None:
    """Drop a line of output."""


class Process:
    """A child in a session of its own that cannot outlive this process.

    Its descendants share its process group; when the child exits, whatever is left of the group
    is killed. On Linux the kernel sends the child `death_signal` if this process dies by any
    means, SIGKILL included. That is tied to the *thread* that called `start()`, so call it from
    one that lives as long as the child should (the main thread).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
        on_line: Callable[[str], None] = _ignore,
        on_exit: Callable[["Process"], None] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.tail: deque[str] = deque(maxlen=KEPT_LINES)
        self._env = dict(env)
        self._cwd = cwd
        self._account = account
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._on_line = on_line
        self._on_exit = on_exit
        self._popen: subprocess.Popen[bytes] | None = None
        self._exited = threading.Event()

    def start(self) -> None:
        """Start the child. Raises OSError if that is impossible."""
        uid, gid = (self._account.uid, self._account.gid) if self._account else (-1, -1)
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(LAUNCHER)),
                *(str(os.getpid()), str(int(self._death_signal)), str(uid), str(gid)),
                *self.command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=self._cwd,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, name=f"{self.name} output", daemon=True)
        reader.start()
        threading.Thread(
            target=self._wait, args=(reader,), name=f"{self.name} exit", daemon=True
        ).start()

    @property
    def pid(self) -> int:
        """The child's process id, which is its group's too."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not exited."""
        return self._popen is not None and not self._exited.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for the exit; say whether it came."""
        return self._exited.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send the child itself a signal; nothing happens once it has exited."""
        if self.running and self._popen is not None:
            self._popen.send_signal(number)

    def terminate(self) -> None:
        """Ask the child to stop."""
        self.signal(self._stop_signal)

    def kill(self) -> None:
        """End the child and everything in its group, at once."""
        if self.running:
            self._kill_group()

    def stop(self, timeout: float) -> bool:
        """Ask the child to stop, kill it after `timeout` seconds; say whether it went by itself."""
        self.terminate()
        if self._popen is None or self.wait(timeout):
            return True
        self.kill()
        self.wait()
        return False

    def explain_exit(self) -> str:
        """Say in one line how the child ended."""
        code = self._popen.returncode if self._popen else None
        if code is None:
            return "is still running"
        if code < 0:
            name = signal.Signals(-code).name
            return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        last = next((line.strip() for line in reversed(self.tail) if line.strip()), "")
        return f"exited with status {code}" + (f": {last}" if code and last else "")

    def _read(self) -> None:
        assert self._popen is not None
        assert self._popen.stdout is not None
        with self._popen.stdout as output:
            for raw in output:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                self.tail.append(line)
                self._on_line(line)

    def _wait(self, reader: threading.Thread) -> None:
        assert self._popen is not None
        self._popen.wait()
        self._kill_group()
        # A descendant that left the group could hold the pipe open for ever.
        reader.join(timeout=1)
        self._exited.set()
        if self._on_exit is not None:
            self._on_exit(self)

    def _kill_group(self) -> None:
        assert self._popen is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
