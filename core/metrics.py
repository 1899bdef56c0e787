"""What every kind of process counts for Prometheus, and how `web` shows what its processes did.

Labels are names of ours (routes, statuses, kinds): never ids, tokens or what someone wrote, and
never anything whose number a client decides.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from django.core.signals import got_request_exception
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from core.version import VERSION

REQUESTS = Counter(
    "chatire_requests", "Requests that were answered.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "chatire_request_seconds",
    "Seconds until a request was answered.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
REQUESTS_ACTIVE = Gauge(
    "chatire_requests_active", "Requests being answered now.", multiprocess_mode="livesum"
)
EXCEPTIONS = Counter(
    "chatire_request_exceptions", "Faults of ours, answered with 500.", ["exception"]
)
EVENTS = Counter("chatire_events", "Events handed to the channel layer.", ["event"])
STATEMENTS = Counter(
    "chatire_database_statements", "Statements sent to the database, by what for.", ["kind"]
)
CONNECTIONS = Gauge(
    "chatire_database_connections", "Connections to the database, by who keeps them.", ["owner"]
)
CONNECTIONS_BUSY = Gauge(
    "chatire_database_connections_busy", "Those of them that are in use now.", ["owner"]
)

VERSION_INFO = Gauge(
    "chatire_version_info", "1, by the version that runs.", ["version"], multiprocess_mode="max"
)
VERSION_INFO.labels(VERSION).set(1)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_kind: ContextVar[str] = ContextVar("statement_kind", default="other")
_connections: WeakSet[BaseDatabaseWrapper] = WeakSet()


# --- Requests --------------------------------------------------------------------------------


class MetricsMiddleware:
    """Count and time the requests of `web`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        REQUESTS_ACTIVE.inc()
        try:
            response = self.get_response(request)
        finally:
            REQUESTS_ACTIVE.dec()
        route = _route(request)
        method = request.method if request.method in _METHODS else "other"
        REQUESTS.labels(method, route, response.status_code).inc()
        REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)
        return response


def _route(request: HttpRequest) -> str:
    """Name where a request went, never with what stood in its path."""
    match = request.resolver_match
    if match is None:
        return "none"  # a file, or nowhere
    # The application's own pages share one pattern, which is no name to look at.
    return "page" if match.url_name == "app" else f"/{match.route}"


def _count_exception(**_: Any) -> None:
    # The signal is sent where the exception is handled.
    kind = sys.exc_info()[0]
    EXCEPTIONS.labels(kind.__name__ if kind else "unknown").inc()


# --- The database ----------------------------------------------------------------------------


@contextmanager
def statements_for(kind: str) -> Iterator[None]:
    """Count what the block sends to the database, on this thread or through `in_thread`, as `kind`.

    That is for Django's connections; others are counted where they are used.
    """
    token = _kind.set(kind)
    try:
        yield
    finally:
        _kind.reset(token)


def _count_statement(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    STATEMENTS.labels(_kind.get()).inc()
    return execute(sql, params, many, context)


def _count_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    _connections.add(connection)
    # The same object connects again after its connection was lost.
    if _count_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count_statement)


def _open_connections() -> float:
    return sum(connection.connection is not None for connection in list(_connections))


CONNECTIONS.labels("threads").set_function(_open_connections)


def watch() -> None:
    """Begin to count statements, connections and exceptions; once, when the apps are loaded."""
    connection_created.connect(_count_connection, dispatch_uid="core.metrics")
    got_request_exception.connect(_count_exception, dispatch_uid="core.metrics")


# --- Showing them ----------------------------------------------------------------------------


class _AllProcesses(MultiProcessCollector):
    """The sums over Gunicorn's processes, without gauges that only single processes keep."""

    def collect(self) -> Iterable[Metric]:
        return [
            metric
            for metric in super().collect()  # type: ignore[no-untyped-call]
            if not any("pid" in sample.labels for sample in metric.samples)
        ]


def exposition() -> bytes:
    """Return this process's metrics; under `chatire.gunicorn`, those of all its processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    _AllProcesses(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


def with_metrics_port(application: Application, port: int) -> Application:
    """Answer `/metrics` to whoever came in through `port`, and nothing else there.

    The socket itself says which port that is; the Host header could be anyone's.
    """

    def answer(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        socket = environ.get("gunicorn.socket")
        address = socket.getsockname() if socket is not None else ()
        if not isinstance(address, tuple) or address[1:2] != (port,):
            return application(environ, start_response)
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"There is /metrics here.\n"]
        body = exposition()
        start_response(
            "200 OK",
            [("Content-Type", CONTENT_TYPE_LATEST), ("Content-Length", str(len(body)))],
        )
        return [body]

    return answer
