"""The embedded PostgreSQL, with real servers."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from chatire.stack import account, postgres
from chatire.stack.account import server_account
from chatire.stack.errors import StackError
from chatire.stack.postgres import EmbeddedPostgres, StackInUse

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root has to deal with")


@pytest.fixture
def server(state_dir):
    """An EmbeddedPostgres of its own, not started."""
    made = EmbeddedPostgres(state_dir, durable=False)
    yield made
    made.stop()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_data_outlives_a_stop(server):
    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert not server.process.running
    assert ask(server.start(), "SELECT answer FROM kept") == 42


def test_password_is_asked_for_and_kept_private(server):
    server.start()
    assert stat.S_IMODE((server.home / "password").stat().st_mode) == 0o600
    parts = urlsplit(server.url)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://chatire:wrong@{parts.hostname}:{parts.port}/chatire")


def test_it_listens_on_loopback_only(server):
    assert ask(server.start(), "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server.url, "SHOW unix_socket_directories") == ""


def test_tests_trade_durability_for_speed_and_others_do_not(server, state_dir):
    assert ask(server.start(), "SHOW fsync") == "off"
    server.stop()
    with EmbeddedPostgres(state_dir) as durable:
        assert ask(durable.url, "SHOW fsync") == "on"


def test_second_server_on_the_same_data_is_refused(server, state_dir):
    server.start()
    with pytest.raises(StackInUse, match=rf"pid {os.getpid()}\b"):
        EmbeddedPostgres(state_dir, durable=False).start()
    assert ask(server.url, "SELECT 1") == 1


def test_stale_pid_file_whose_pid_is_someone_elses_now_is_no_obstacle(server):
    server.start()
    server.stop()
    pid_file = server.data / "postmaster.pid"
    owner = server_account()
    with subprocess.Popen(
        ["sleep", "600"],
        cwd="/",
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
    ) as someone:
        pid_file.write_text(f"{someone.pid}\n{server.data}\n1\n54321\n\n127.0.0.1\n")
        try:
            assert ask(server.start(), "SELECT 1") == 1
            assert someone.poll() is None
        finally:
            someone.kill()


def test_server_left_over_by_another_stack_is_replaced(server, state_dir):
    server.start()
    server._lock.release()  # as if its stack had died, and the server with no parent lived on
    with EmbeddedPostgres(state_dir, durable=False) as successor:
        assert ask(successor.url, "SELECT 1") == 1
        assert not server.process.running


def test_taken_port_is_the_stated_cause(state_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = EmbeddedPostgres(state_dir, durable=False, port=taken.getsockname()[1])
        with pytest.raises(StackError, match="could not bind") as caught:
            wanted.start()
    assert "\n" not in str(caught.value)
    assert "CHATIRE_POSTGRES_PORT" in caught.value.remedy
    assert not wanted.process.running


def test_damaged_data_is_the_stated_cause(server):
    server.start()
    server.stop()
    (server.data / "global" / "pg_control").unlink()
    with pytest.raises(StackError, match="did not start: could not find") as caught:
        server.start()
    assert "make reset" in caught.value.remedy


def test_full_disk_is_told_before_anything_is_written(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 5 * 2**20))
    with pytest.raises(StackError, match="Only 5 MB are free"):
        server.start()
    assert not server.data.exists()


def test_data_of_another_major_version_is_told(server):
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match="of PostgreSQL 17"):
        server.start()


def test_interrupted_making_of_a_cluster_starts_afresh(server):
    partial = server.home / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")
    assert ask(server.start(), "SELECT 1") == 1


def test_package_that_is_not_installed_is_told(server, monkeypatch):
    monkeypatch.setattr(postgres.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StackError, match="not installed"):
        server.start()


@needs_root
def test_root_keeps_data_and_programs_elsewhere_where_its_own_folders_are_closed(monkeypatch):
    system = Path(tempfile.mkdtemp(prefix="chatire-test-"))
    closed = Path(tempfile.mkdtemp(prefix="chatire-test-"))  # mode 700
    system.chmod(0o755)
    monkeypatch.setattr(account, "SYSTEM_FOLDER", system)
    readable = account.can_read
    # As if the virtual environment were in /root too.
    monkeypatch.setattr(
        account,
        "can_read",
        lambda who, path: sys.prefix not in str(path) and readable(who, path),
    )
    try:
        with EmbeddedPostgres(closed / "state", durable=False) as server:
            assert ask(server.url, "SELECT 1") == 1
            assert server.home.is_relative_to(system)
            assert server._binaries.is_relative_to(system)
            assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        server.destroy()
        assert [path.name for path in system.iterdir()] == [server._binaries.parents[2].name]
    finally:
        shutil.rmtree(system)
        shutil.rmtree(closed)
