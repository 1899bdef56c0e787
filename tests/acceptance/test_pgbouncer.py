"""Behind a transaction-mode PgBouncer, with a direct connection for what listens."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from chatire.stack.ports import free_port
from tests.acceptance.client import person
from tests.acceptance.conftest import StartStack
from tests.acceptance.stack import ROOT, Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

PGBOUNCER = shutil.which("pgbouncer")
pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(240),
    pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed"),
]


@pytest.fixture(scope="module")
def pooler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a PgBouncer before the test server, a session for each transaction."""
    server = urlsplit(os.environ["DATABASE_URL"])
    folder = tmp_path_factory.mktemp("pgbouncer")
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


def doctor(stack: Stack, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py doctor` in a stack's environment."""
    return subprocess.run(
        [str(ROOT / ".venv" / "bin" / "python"), "manage.py", "doctor"],
        cwd=ROOT,
        env={**stack.env, **changed},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_chat_works_and_the_doctor_knows_a_pooler_that_swallows_listen(
    start_stack: StartStack, pooler: str
) -> None:
    stack = start_stack(pooler=pooler)
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        for seed in (61, 62):
            sent = await guest.say(chat, f"Go {directive(tokens=80, seed=seed)}")
            reply = await browser.finished(chat, sent["reply"]["id"])
            assert reply.text == reply.final == expected_text(seed, 80)
        assert room.faults == []

    healthy = doctor(stack)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    lost = doctor(stack, DATABASE_DIRECT_URL="")
    assert lost.returncode != 0
    assert "PROBLEM  channel layer" in lost.stdout
