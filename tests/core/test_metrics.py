"""What is counted of requests and statements, and who gets to see it."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from prometheus_client import REGISTRY

from accounts.models import User
from chatire import gunicorn
from core import metrics
from core.metrics import statements_for, with_metrics_port
from core.threads import in_thread


def value(name: str, **labels: str) -> float:
    """A sample's value; 0 before it is first counted."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def counted(name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Every sample of that name, by its labels."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == name
    }


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/api/config/", "/api/config/", "200"),
        (f"/api/messages/{UUID(int=7)}/", "/api/messages/<uuid:message_id>/", "401"),
        ("/api/no-such-thing/", "none", "404"),
        ("/metrics", "none", "404"),
        ("/metrics/", "none", "404"),
    ],
)
def test_requests_are_counted_by_route_and_status(
    db: None, client: Client, path: str, route: str, status: str
) -> None:
    labels = {"method": "GET", "route": route, "status": status}
    before = value("chatire_requests_total", **labels)
    timed = value("chatire_request_seconds_count", route=route)

    assert str(client.get(path).status_code) == status

    assert value("chatire_requests_total", **labels) == before + 1
    assert value("chatire_request_seconds_count", route=route) == timed + 1
    assert value("chatire_requests_active") == 0


def test_labels_hold_nothing_that_a_client_made_up(db: None, client: Client) -> None:
    secret = uuid4().hex
    client.generic(secret.upper(), "/api/config/")
    client.get(f"/api/{secret}/", {"token": secret}, HTTP_AUTHORIZATION=f"Bearer {secret}")
    client.get(f"/{secret}").close()

    told = metrics.exposition().decode().lower()

    assert secret not in told
    assert 'method="other"' in told
    assert 'route="page"' in told


def test_health_checks_are_no_requests(db: None, client: Client) -> None:
    before = counted("chatire_requests_total")
    assert client.get("/health/").status_code == 200
    assert counted("chatire_requests_total") == before


def test_a_fault_of_ours_is_counted_by_its_kind(
    db: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Surprise(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise Surprise

    monkeypatch.setattr("chatire.pages.split_domain_port", fail)
    client.raise_request_exception = False

    assert client.get("/api/config/").status_code == 500

    assert value("chatire_request_exceptions_total", exception="Surprise") == 1
    assert value("chatire_requests_total", method="GET", route="/api/config/", status="500") >= 1
    assert value("chatire_requests_active") == 0


def test_statements_are_counted_by_what_they_are_for(db: None) -> None:
    before = counted("chatire_database_statements_total")
    with statements_for("claim"):
        User.objects.count()
        User.objects.count()
    User.objects.count()
    after = counted("chatire_database_statements_total")

    grown = {dict(key)["kind"]: after[key] - before.get(key, 0.0) for key in after}
    assert (grown["claim"], grown["other"]) == (2, 1)


@pytest.mark.django_db(transaction=True)
async def test_statements_on_other_threads_are_counted_as_their_callers_say() -> None:
    def count() -> int:
        return User.objects.count()

    await in_thread(count)
    before = value("chatire_database_statements_total", kind="finish")
    with statements_for("finish"):
        await in_thread(count)
    await in_thread(count)
    assert value("chatire_database_statements_total", kind="finish") == before + 1


@pytest.mark.django_db(transaction=True)
def test_a_connection_counts_once_however_often_it_is_made_again() -> None:
    connection.ensure_connection()
    opened = value("chatire_database_connections", owner="threads")
    connection.close()
    assert value("chatire_database_connections", owner="threads") == opened - 1
    before = value("chatire_database_statements_total", kind="claim")
    with statements_for("claim"):
        User.objects.count()
    assert value("chatire_database_connections", owner="threads") == opened
    assert value("chatire_database_statements_total", kind="claim") == before + 1


# --- Who may see them --------------------------------------------------------------------------


def listening() -> socket.socket:
    """A socket with a port of its own."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


@pytest.fixture
def ours() -> Iterator[socket.socket]:
    """What requests to the metrics port come in through."""
    with listening() as made:
        yield made


def ask(
    ours: socket.socket, came_in: socket.socket | None, path: str = "/metrics"
) -> tuple[str, bytes]:
    """Ask as a WSGI server does; return the status line and the body."""
    port = ours.getsockname()[1]
    answered: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"the application"]

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "HTTP_HOST": f"127.0.0.1:{port}",
        # From the Host header, if the server listens on a Unix socket.
        "SERVER_PORT": str(port),
        "gunicorn.socket": came_in,
    }
    body = with_metrics_port(application, port)(
        environ, lambda status, headers: answered.append(status)
    )
    return answered[0], b"".join(body)


def test_the_metrics_port_shows_them(ours: socket.socket) -> None:
    status, body = ask(ours, ours)
    assert status == "200 OK"
    assert b"# TYPE chatire_requests_total counter" in body


def test_the_metrics_port_shows_nothing_else(ours: socket.socket) -> None:
    status, body = ask(ours, ours, "/api/config/")
    assert status == "404 Not Found"
    assert b"application" not in body


def test_no_other_port_shows_them_whatever_the_host_header_says(ours: socket.socket) -> None:
    unix, peer = socket.socketpair()
    with listening() as other, unix, peer:
        for came_in in (other, unix, None):
            assert ask(ours, came_in) == ("200 OK", b"the application")


# --- Gunicorn's hooks ----------------------------------------------------------------------------


def started() -> tuple[SimpleNamespace, Path]:
    """A Gunicorn that has started, and its folder."""
    server = SimpleNamespace(WORKERS={})
    gunicorn.on_starting(server)
    return server, Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the hooks' folders, and what they set in the environment, to this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")


@pytest.mark.usefixtures("own_folder")
def test_folders_of_the_killed_are_deleted_and_those_of_the_living_are_not() -> None:
    living, of_the_living = started()
    killed, of_the_killed = started()
    killed.lives.close()
    last, of_the_last = started()
    assert (of_the_living.exists(), of_the_killed.exists()) == (True, False)
    gunicorn.on_exit(last)
    assert not of_the_last.exists()
    living.lives.close()
    last.lives.close()


@pytest.mark.usefixtures("own_folder")
def test_a_new_worker_takes_the_place_of_one_that_is_gone() -> None:
    server = SimpleNamespace(WORKERS={})

    def fork(pid: int) -> int:
        worker = SimpleNamespace()
        gunicorn.pre_fork(server, worker)
        server.WORKERS[pid] = worker
        return int(worker.place)

    assert [fork(pid) for pid in (11, 12, 13)] == [0, 1, 2]
    del server.WORKERS[12]
    assert [fork(pid) for pid in (14, 15)] == [1, 3]
