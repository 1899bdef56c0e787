"""The servers a run needs: a private PostgreSQL, and Redis if the machine has it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from chatire.stack.postgres import EmbeddedPostgres
from chatire.stack.process import LAUNCHER


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own with the tables of channels_postgres; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="chatire-bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder))
        try:
            yield server.start()
        finally:
            server.destroy()


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
    """A Redis on a free port that saves nothing; yields its URL, or None if it cannot be had."""
    program = shutil.which("redis-server")
    if program is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing redis-server …", flush=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "redis-server"], check=False)
        program = shutil.which("redis-server")
    if program is None:
        print("no redis-server: its layers are left out (as root it would be installed)")
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    # By default it cuts a pub/sub subscriber off that is 32 MB behind, which a flat-out case is.
    options += ["--client-output-buffer-limit", "pubsub 0 0 0"]
    # It dies with this process, whatever ends that.
    launch = [sys.executable, "-I", "-S", str(LAUNCHER)]
    launch += [str(os.getpid()), str(int(signal.SIGKILL)), "-1", "-1"]
    process = subprocess.Popen([*launch, program, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)
