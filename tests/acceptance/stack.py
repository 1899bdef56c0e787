"""The Procfile's processes, run for real: their own database, ports and logs."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from chatire.stack.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_DEADLINE = 60.0  # seconds
STOP_DEADLINE = 40.0


def procfile(folder: Path = ROOT) -> dict[str, str]:
    """Return the Procfile's commands by process name."""
    lines = (folder / "Procfile").read_text().splitlines()
    return {
        name: command.strip()
        for name, _, command in (line.partition(":") for line in lines if line.strip())
    }


class Database:
    """A database of one's own on the test server, dropped at the end."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self.name = f"chatire_{os.getpid()}_{secrets.token_hex(4)}"
        self.url = urlunsplit(urlsplit(server_url)._replace(path=f"/{self.name}"))

    def create(self, template: "Database | None" = None) -> None:
        """Create it, empty or as a copy of `template`, to which no one may be connected."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template.name))
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement)

    def drop(self) -> None:
        """Drop it, whoever is still connected."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(self.name)))


class Process:
    """One process of the Procfile, in a process group of its own."""

    def __init__(
        self,
        name: str,
        command: str,
        env: dict[str, str],
        health: str,
        log: Path,
        folder: Path = ROOT,
    ) -> None:
        self.name = name
        self.health = health
        self.log = log
        self._command = command
        self._env = env
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of its leader."""
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether its leader runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, appending to its log; `wait_healthy` says when it is ready."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {self._command}"],
                cwd=self._folder,
                env=self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_healthy(self) -> None:
        """Wait until its health endpoint answers 200. Raises AssertionError with its log."""
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            if not self.running:
                break
            try:
                with urllib.request.urlopen(self.health, timeout=5) as answer:
                    if json.load(answer)["status"] == "ok":
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.name} did not get healthy:\n{self.tail()}")

    def tail(self, lines: int = 60) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its leader alone, as a platform does."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL the whole group: the machine is gone."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._child.wait(10)

    def stop(self) -> int:
        """SIGTERM it and return its exit status; kill what does not stop."""
        if self._child is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return self._child.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop:\n{self.tail()}") from None


class Stack:
    """web, ws and worker as the Procfile starts them, on ports and a database of their own."""

    def __init__(
        self,
        *,
        database_url: str,
        model_url: str,
        logs: Path,
        workers: int = 1,
        sockets: int = 1,
        folder: Path = ROOT,
        commands: dict[str, str] | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.commands = commands or procfile()
        self.web_port, self.ws_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.ws_url = f"ws://127.0.0.1:{self.ws_port}"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH"}
        }
        self.env = {
            **inherited,
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CHATIRE_ENV": "production",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "DATABASE_URL": database_url,
            "OPENAI_BASE_URL": model_url,
            "OPENAI_API_KEY": "not-a-real-key",
            "CHATIRE_MODEL": "fake",
            "CHATIRE_BIND": "127.0.0.1",
            "WS_PORT": str(self.ws_port),
            "THROTTLE_AUTH": "10000/min",
            "THROTTLE_GUEST": "10000/min",
            **settings,
        }
        self.processes: dict[str, Process] = {}
        self.metrics_port = free_port()
        web = {"PORT": str(self.web_port), "WEB_METRICS_PORT": str(self.metrics_port)}
        self._add("web", self.commands["web"], self.web_port, logs, **web)
        # `ws`, `ws2`, `ws3` …, which one would ask for by name.
        self.ws_ports = [self.ws_port, *(free_port() for _ in range(sockets - 1))]
        for number, port in enumerate(self.ws_ports, 1):
            name = f"ws{number}" if number > 1 else "ws"
            self._add(name, self.commands["ws"], port, logs, WS_PORT=str(port))
        for number in range(workers):
            port = free_port()
            name = f"worker{number + 1}" if workers > 1 else "worker"
            self._add(name, self.commands["worker"], port, logs, WORKER_HEALTH_PORT=str(port))

    def _add(self, name: str, command: str, port: int, logs: Path, **env: str) -> None:
        self.processes[name] = Process(
            name,
            command,
            {**self.env, **env},
            f"http://127.0.0.1:{port}/health/",
            logs / f"{name}.log",
            self.folder,
        )

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def manage(self, *arguments: str) -> str:
        """Run a manage.py command to its end and return what it printed."""
        done = subprocess.run(
            [str(ROOT / ".venv" / "bin" / "python"), "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def release(self, **changed: str) -> None:
        """Run the `release` line to its end, in an environment with these changes."""
        done = subprocess.run(
            ["/bin/sh", "-c", self.commands["release"]],
            cwd=self.folder,
            env={**self.env, **changed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start all processes and wait until each is healthy."""
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            process.wait_healthy()

    def restart(self, name: str) -> None:
        """Start a process that was stopped or killed, and wait until it is healthy."""
        self.processes[name].start()
        self.processes[name].wait_healthy()

    def stop(self) -> dict[str, int]:
        """Stop all processes in order and return their exit statuses."""
        return {name: process.stop() for name, process in self.processes.items()}

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for process in self.processes.values():
                process.signal(signal.SIGTERM)
            for process in self.processes.values():
                process.stop()
        finally:
            for process in self.processes.values():
                process.kill()
