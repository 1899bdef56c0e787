"""`make up`: everything that Chatire needs, on this machine, until Ctrl-C."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from honcho.environ import parse_procfile

from chatire.stack import model
from chatire.stack.environment import (
    ROOT,
    application_environment,
    load_env_file,
    secret,
    state_folder,
)
from chatire.stack.errors import StackError
from chatire.stack.lock import FolderLock
from chatire.stack.ports import LOOPBACK, free_port, require_free
from chatire.stack.postgres import EmbeddedPostgres
from chatire.stack.process import Process
from chatire.stack.service import Health, Service
from chatire.stack.supervisor import Interrupted, Supervisor

DEMO_USERS = "alice or bob"
ENVIRONMENT_FILE = "environment.json"
SECRET_KEY_FILE = "secret_key"  # noqa: S105 - a name
MODEL_KEY_FILE = "model_key"
DEMO_PASSWORD_FILE = "demo_password"  # noqa: S105 - a name
DEMO_PASSWORD_LENGTH = 12
STATIC_STAMP = "static-files"
KEPT_FILES = (
    ENVIRONMENT_FILE,
    SECRET_KEY_FILE,
    MODEL_KEY_FILE,
    DEMO_PASSWORD_FILE,
    STATIC_STAMP,
)
# Stages of the end: first those who use, then what they use.
APPLICATION, MODEL, DATABASE = range(3)
APPLICATION_STOP_TIMEOUT = 25.0  # seconds; above the time that workers take to drain
MODEL_STOP_TIMEOUT = 5.0
DATABASE_STOP_TIMEOUT = 15.0
# What a database log says that a developer should see; the rest is only kept for explanations.
TELLING = ("WARNING:", "FATAL:", "PANIC:")


class Stack:
    """One `make up`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._began = time.monotonic()
        self._state_dir = state_folder()
        self._postgres: EmbeddedPostgres | None = None
        self._lock = FolderLock(self._state_dir)
        self._environment: dict[str, str] = {}
        self._health = {
            "web": Health(_port("WEB_PORT", "PORT", default=8000)),
            "ws": Health(_port("WS_PORT", default=8081)),
            "worker": Health(_port("WORKER_HEALTH_PORT", default=8082)),
        }
        # Nobody needs to know it here, so it is one that is free.
        self._metrics_port = _port("WEB_METRICS_PORT", default=0)

    def up(self) -> None:
        """Start everything and keep it running. Raises StackError or Interrupted."""
        self._take_lock()
        self._require_ports()
        database_url = self._own_database() or self._start_database()
        model_environment = self._start_model()
        self._environment = {
            **application_environment(
                os.environ,
                secret_key=lambda: secret(self._state_dir, SECRET_KEY_FILE),
                database_url=database_url,
                model=model_environment,
            ),
            "PORT": str(self._health["web"].port),
            "WS_PORT": str(self._health["ws"].port),
            "WORKER_HEALTH_PORT": str(self._health["worker"].port),
            "WEB_METRICS_PORT": str(self._metrics_port),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        self._prepare()
        self._start_processes()
        self._supervisor.say("Waiting until all of them are healthy")
        self._supervisor.wait_until_healthy()
        self._keep_environment()
        self._announce()
        self._supervisor.watch()

    def down(self) -> None:
        """Stop everything."""
        self._supervisor.stop()
        if self._postgres is not None:
            self._postgres.stop()
        (self._state_dir / ENVIRONMENT_FILE).unlink(missing_ok=True)
        self._lock.release()

    # --- Steps ----------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            holder = self._lock.acquire()
        except OSError as error:
            raise StackError(
                f"{self._state_dir} cannot be used: {error.strerror}.",
                "Check who owns it, or use another folder: CHATIRE_STATE_DIR=/some/folder",
            ) from error
        if holder is not None:
            raise StackError(
                f"Chatire is running already (pid {holder}).",
                "Stop it with Ctrl-C there; or give this one other ports and a folder of its "
                "own, with CHATIRE_STATE_DIR.",
            )

    def _require_ports(self) -> None:
        variables = {"web": "WEB_PORT", "ws": "WS_PORT", "worker": "WORKER_HEALTH_PORT"}
        host = os.environ.get("CHATIRE_BIND", LOOPBACK)
        for name, health in self._health.items():
            require_free(health.port, user=name, variable=variables[name], host=host)
        if self._metrics_port:
            require_free(self._metrics_port, user="web", variable="WEB_METRICS_PORT", host=host)
        self._metrics_port = self._metrics_port or free_port()

    def _own_database(self) -> str | None:
        """Return DATABASE_URL, if given, once it answers."""
        url = os.environ.get("DATABASE_URL")
        if not url:
            return None
        correct = "Correct it, or unset it to use the embedded PostgreSQL."
        if not url.startswith(("postgres://", "postgresql://")):
            raise StackError("DATABASE_URL is not a postgresql:// URL.", correct)
        parts = urlsplit(url)
        where = f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        self._supervisor.say(f"Using the database at {where} (DATABASE_URL)")
        try:
            psycopg.connect(url, connect_timeout=10).close()
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[0].removeprefix("connection failed: ")
            raise StackError(f"DATABASE_URL does not work: {reason}", correct) from error
        return url

    def _start_database(self) -> str:
        self._supervisor.say("Starting PostgreSQL")
        show = self._supervisor.printing("database")
        postgres = EmbeddedPostgres(
            self._state_dir,
            port=_port("CHATIRE_POSTGRES_PORT", default=0),
            on_line=lambda line: show(line) if any(mark in line for mark in TELLING) else None,
            on_exit=self._supervisor.exited,
        )
        if not postgres.data.exists():
            self._supervisor.say(f"Making a database in {postgres.home}")
        self._postgres = postgres

        def launch() -> Process:
            if postgres.process is None:
                postgres.start()
            else:
                postgres.restart()
            assert postgres.process is not None
            return postgres.process

        self._supervisor.start(Service("database", launch, DATABASE, DATABASE_STOP_TIMEOUT))
        return postgres.url

    def _start_model(self) -> dict[str, str]:
        """Start the embedded model, unless there is another; return its variables for the app."""
        if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
            return {}
        self._supervisor.say(f"Starting the model ({model.ALIAS})")
        model.weights_file()
        port = _port("CHATIRE_MODEL_PORT", default=0)
        if port:
            require_free(port, user="the model", variable="CHATIRE_MODEL_PORT")
        port = port or free_port()
        key = secret(self._state_dir, MODEL_KEY_FILE)
        self._start_service(
            "model",
            [sys.executable, "-m", "chatire.stack.model", "--port", str(port)],
            {**os.environ, model.KEY_VARIABLE: key, "PYTHONUNBUFFERED": "1"},
            stage=MODEL,
            stop_timeout=MODEL_STOP_TIMEOUT,
            health=Health(port, "/health"),
        )
        return {
            "OPENAI_BASE_URL": f"http://{LOOPBACK}:{port}/v1",
            "OPENAI_API_KEY": key,
            "OPENAI_OPEN_TURNS": "true",
            "CHATIRE_MODEL": model.ALIAS,
            "CHATIRE_CONTEXT_TOKENS": str(model.HISTORY_TOKENS),
            "CHATIRE_MAX_REPLY_TOKENS": str(model.REPLY_TOKENS),
        }

    def _prepare(self) -> None:
        """Bring the schema, the demo data and the static files up to date."""
        run = partial(self._supervisor.run, env=self._environment, cwd=ROOT)
        release = _procfile().get("release")
        if release:
            self._supervisor.say("Migrating the database")
            run("release", ["sh", "-c", release])
        self._supervisor.say("Making the demo users and assistants")
        run("demo", [sys.executable, "manage.py", "demo", f"--password={self._demo_password()}"])
        stamp = self._state_dir / STATIC_STAMP
        digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
        if not (ROOT / "staticfiles").is_dir() or not _holds(stamp, digest):
            self._supervisor.say("Collecting static files")
            run("static", [sys.executable, "manage.py", "collectstatic", "--noinput", "-v", "0"])
            stamp.write_text(digest)

    def _demo_password(self) -> str:
        return secret(self._state_dir, DEMO_PASSWORD_FILE)[:DEMO_PASSWORD_LENGTH]

    def _start_processes(self) -> None:
        for name, command in _procfile().items():
            if name != "release":
                self._supervisor.say(f"Starting {name}")
                self._start_service(
                    name,
                    # One process less, and signals reach the command itself.
                    ["sh", "-c", f"exec {command}"],
                    self._environment,
                    stage=APPLICATION,
                    stop_timeout=APPLICATION_STOP_TIMEOUT,
                    health=self._health.get(name),
                )

    def _start_service(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        *,
        stage: int,
        stop_timeout: float,
        health: Health | None,
    ) -> None:
        def launch() -> Process:
            process = Process(
                name,
                command,
                env=environment,
                cwd=ROOT,
                on_line=self._supervisor.printing(name),
                on_exit=self._supervisor.exited,
            )
            process.start()
            return process

        self._supervisor.start(Service(name, launch, stage, stop_timeout, health))

    def _keep_environment(self) -> None:
        """Keep the processes' environment for `python -m chatire.stack run`, for us alone."""
        path = self._state_dir / ENVIRONMENT_FILE
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(self._environment, stream)

    def _announce(self) -> None:
        say: Callable[[str], None] = self._supervisor.say
        web = f"http://{LOOPBACK}:{self._health['web'].port}"
        base = self._environment.get("OPENAI_BASE_URL", "")
        where = "embedded" if self._runs("model") else base or "the OpenAI API"
        say("")
        say(f"Chatire is ready ({time.monotonic() - self._began:.1f} s)")
        say(f"  open      {web}/")
        say(f"  sign in   {DEMO_USERS}, password {self._demo_password()} (or continue as a guest)")
        say(f"  API       {web}/api/docs/")
        say(f"  sockets   ws://{LOOPBACK}:{self._health['ws'].port}/ws/")
        say(f"  model     {self._environment.get('CHATIRE_MODEL', 'the default')} ({where})")
        say(f"  database  {'embedded' if self._postgres else 'yours'}")
        say("Ctrl-C stops everything.")
        say("")

    def _runs(self, name: str) -> bool:
        return any(service.name == name for service in self._supervisor.services)


def _procfile() -> dict[str, str]:
    path = ROOT / "Procfile"
    return dict(parse_procfile(path.read_text()).processes)


def _port(*variables: str, default: int) -> int:
    """Return the port in the first of the variables that is set. Raises StackError."""
    for variable in variables:
        value = os.environ.get(variable)
        if value:
            if not value.isdigit() or int(value) > 65535:
                raise StackError(f"{variable} is {value!r}; it must be a port number.", "")
            return int(value)
    return default


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except FileNotFoundError:
        return False


def up() -> int:
    """Run the stack until it is stopped; return the exit status."""
    supervisor = Supervisor()
    with supervisor.signals():
        stack: Stack | None = None
        try:
            load_env_file()
            stack = Stack(supervisor)
            stack.up()
        except Interrupted:
            status = 0
        except StackError as error:
            supervisor.say(f"ERROR: {error}")
            if error.remedy:
                supervisor.say(error.remedy)
            status = 1
        finally:
            if stack is not None:
                stack.down()
        if supervisor.services:
            supervisor.say("Stopped")
    return status
