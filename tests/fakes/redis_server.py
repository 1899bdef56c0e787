"""A Redis or Valkey server of a test's own, on a free port; it saves nothing."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from chatire.stack.ports import free_port

# Valkey speaks the same protocol; with CHATIRE_TEST_REDIS=valkey-server the tests run on it.
PROGRAM = shutil.which(os.environ.get("CHATIRE_TEST_REDIS", "redis-server"))
MISSING = "there is no redis-server (apt-get install redis-server)"
START_DEADLINE = 10.0  # seconds


class RedisServer:
    """A server with a password, which no log may show."""

    def __init__(self, *options: str, config: Path | None = None) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self.name = f"127.0.0.1:{self.port}"
        self.url = f"redis://:{self.password}@{self.name}/0"
        self._options = options
        self._config = config
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, after `kill` too, on the same port; return once it answers."""
        assert PROGRAM is not None, MISSING
        self._child = subprocess.Popen(
            [
                PROGRAM,
                *([str(self._config)] if self._config else []),
                *("--port", str(self.port), "--bind", "127.0.0.1"),
                *(() if self._config else ("--save", "", "--appendonly", "no")),
                *("--requirepass", self.password, *self._options),
            ],
            stdout=subprocess.DEVNULL,
            # A terminal's Ctrl-C ends the tests, which end it.
            start_new_session=True,
        )
        deadline = time.monotonic() + START_DEADLINE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: whoever is connected hears nothing but the end of it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(10)
            self._child = None

    def freeze(self) -> None:
        """Stop it, so that connections stay open and silent; `thaw` ends that."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._child is not None
        self._child.send_signal(signal.SIGCONT)

    def ask(self, *command: str) -> object:
        """Send one command and return the answer."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*command)

    def reads(self) -> int:
        """How often it has read from any client by now."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.info("stats")["total_reads_processed"])

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
