"""A PgBouncer before the test server, a session for each transaction."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from chatire.stack.ports import free_port

PGBOUNCER = shutil.which("pgbouncer")


def through(pooler: str, database_url: str) -> str:
    """Return a database's address by way of a pooler's `host:port`."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{pooler}"))


@contextlib.contextmanager
def running_pooler(folder: Path) -> Iterator[str]:
    """Run one, with its configuration in `folder`; yield its `host:port`."""
    server = urlsplit(os.environ["DATABASE_URL"])
    port = free_port()
    password = f" password={server.password}" if server.password else ""
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.hostname} port={server.port or 5432}"
        f" user={server.username}{password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 20\n"
        "max_client_conn = 200\nignore_startup_parameters = options,extra_float_digits\n"
    )
    child = subprocess.Popen(
        [str(PGBOUNCER), "pgbouncer.ini"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Like PostgreSQL, it does not run as root.
        **_other_user(folder),
    )
    try:
        _wait_for(f"postgresql://{server.username}@127.0.0.1:{port}{server.path}")
        yield f"127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(10)


def _other_user(folder: Path) -> dict[str, str]:
    if os.geteuid() != 0:
        return {}
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "nobody")
    for above in folder.parents:
        if above == Path("/tmp") or above.stat().st_uid != 0:
            break
        above.chmod(above.stat().st_mode | 0o011)
    return {"user": "nobody"}


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
