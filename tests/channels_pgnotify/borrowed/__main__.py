"""Fetch the source distributions, unpack them under .chatire/borrowed/, run their tests."""

import contextlib
import os
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


def main() -> int:
    paths = fetch()
    with database() as url:
        environment = os.environ | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "tests.channels_pgnotify.borrowed.settings",
        }
        options = [
            "-p",
            "tests.channels_pgnotify.borrowed.shim",
            "-p",
            "no:django",
            "-p",
            "no:cacheprovider",
        ]
        # Their settings, not ours: they neither count warnings as errors nor mind their order.
        options += ["-c", os.devnull, "--rootdir", str(FOLDER), "--import-mode", "importlib"]
        options += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
        options += ["-p", "no:randomly", "--timeout", "60"]
        command = [sys.executable, "-m", "pytest", *options, "-q", "-rsf", *sys.argv[1:], *paths]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
