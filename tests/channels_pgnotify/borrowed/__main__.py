"""The layer's wheel in an environment of its own, beside a plain project and borrowed tests.

Builds the wheel, installs it and what the tests need into .chatire/wheel/, runs a Channels project
of a few lines there, and then the tests of other channel layers, fetched into .chatire/borrowed/.
Nothing of the checkout can be imported there but the plugin that points those tests at our layer.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from chatire.stack.postgres import EmbeddedPostgres

FOLDER = Path(".chatire/borrowed")
ENVIRONMENT = Path(".chatire/wheel")
HERE = Path(__file__).parent
UV = Path(sys.executable).parent / "uv"
# Beside what the wheel itself asks for.
NEEDED = ("channels-redis", "cryptography", "pytest", "pytest-asyncio", "pytest-timeout")
TESTS = {
    "channels_redis-4.3.0": ["test_core.py", "test_pubsub.py"],
    "channels_postgres-1.1.4": ["test_core.py"],
}


def fetch() -> list[str]:
    """The paths of the tests, downloaded if they are not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = []
    for release, files in TESTS.items():
        archive = FOLDER / f"{release}.tar.gz"
        if not archive.exists():
            requirement = "==".join(release.rsplit("-", 1))
            command = [sys.executable, "-m", "pip", "download", "--no-binary", ":all:", "--no-deps"]
            subprocess.run([*command, "--quiet", "--dest", str(FOLDER), requirement], check=True)
        with tarfile.open(archive) as contents:
            contents.extractall(FOLDER, filter="data")
        paths += [str(FOLDER / release / "tests" / file) for file in files]
    return paths


@contextlib.contextmanager
def database() -> Iterator[str]:
    """A new database, on the server of DATABASE_URL or on one of our own; yields its URL."""
    with contextlib.ExitStack() as stack:
        server = os.environ.get("DATABASE_URL")
        if server is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chatire-borrowed-"))
            Path(folder).chmod(0o755)
            postgres = EmbeddedPostgres(Path(folder), durable=False)
            stack.callback(postgres.destroy)
            server = postgres.start()
        name = f"borrowed_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            try:
                yield f"{server.rpartition('/')[0]}/{name}"
            finally:
                connection.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                )


def install(folder: Path) -> Path:
    """Build the wheel and install it into an empty environment; return that one's Python."""
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    _uv("build", "--wheel", "channels_pgnotify", "--out-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    _uv("venv", str(ENVIRONMENT), "--python", sys.executable)
    python = ENVIRONMENT.absolute() / "bin" / "python"
    pins = ["-c", "requirements.txt", "-c", "requirements-dev.txt"]
    _uv("pip", "install", "--python", str(python), *pins, str(wheel), *NEEDED)
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([str(UV), arguments[0], "--quiet", *arguments[1:]], check=True)


def main() -> int:
    paths = [str(Path(path).absolute()) for path in fetch()]
    with database() as url, tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder))
        for name in ("plain_settings.py", "plain_project.py", "shim.py"):
            shutil.copy(HERE / name, folder)
        environment = os.environ | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "plain_settings",
            "PYTHONPATH": folder,
        }
        subprocess.run([python, "plain_project.py"], cwd=folder, env=environment, check=True)
        options = ["-p", "shim", "-p", "no:cacheprovider"]
        # Their settings, not ours: they neither count warnings as errors nor mind their order.
        options += ["-c", os.devnull, "--rootdir", folder, "--import-mode", "importlib"]
        options += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
        options += ["--timeout", "60"]
        command = [python, "-m", "pytest", *options, "-q", "-rsf", *sys.argv[1:], *paths]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
