"""Blocking calls from async code, mostly database calls, on a bounded pool of threads.

`database_sync_to_async` would run every one of a process's calls on a single thread; here
DB_THREADS of them run at once, each thread with Django connections of its own.
"""

import asyncio
import contextvars
import functools
import select
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from core.errors import RETRY_AFTER
from core.metrics import CONNECTIONS_BUSY

P = ParamSpec("P")
T = TypeVar("T")


class _Pool:
    """The threads, and every connection they have opened."""

    def __init__(self, name: str, size: int) -> None:
        self.executor = ThreadPoolExecutor(size, thread_name_prefix=f"chatire-{name}")
        self._lock = threading.Lock()
        self._connections: set[BaseDatabaseWrapper] = set()

    def run(self, call: Callable[[], T]) -> T:
        """Make the call on the present thread, which is one of the pool's."""
        for connection in connections.all(initialized_only=True):
            _freshen(connection)
        try:
            return call()
        finally:
            with self._lock:
                self._connections.update(connections.all(initialized_only=True))

    def shutdown(self) -> None:
        """Wait for the calls that run, refuse more, close the connections."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.inc_thread_sharing()
            connection.close()


def _freshen(connection: BaseDatabaseWrapper) -> None:
    """Drop a connection that is too old or that the server has closed meanwhile.

    What `close_old_connections` does, but without its round trip to the server for each call
    (CONN_HEALTH_CHECKS): a connection is only asked whether it lives if the call before had a
    database error, or if it has unread input, which is what a closed one has.
    """
    connection.close_if_unusable_or_obsolete()
    _trust(connection)


def trust_connections(**_: object) -> None:
    """Spare a request the same round trip; for `request_started`, after Django's own receiver."""
    for connection in connections.all(initialized_only=True):
        _trust(connection)


def _trust(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is not None:
        # django-stubs does not know the attribute.
        connection.health_check_done = not _has_unread_input(connection)  # type: ignore[attr-defined]


def _has_unread_input(connection: BaseDatabaseWrapper) -> bool:
    if connection.connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


# Threads for calls that wait for other machines than the database's.
SLOW_THREADS = 4

_pools: dict[str, _Pool] = {}
_pools_lock = threading.Lock()


def _running_pool(name: str, size: int) -> _Pool:
    with _pools_lock:
        if name not in _pools:
            _pools[name] = _Pool(name, size)
        return _pools[name]


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function on the pool and return what it returns.

    It sees the caller's context variables. A call waits while all DB_THREADS threads are busy.
    Cancelling the caller forgets a call that waits; one that runs is finished unheard. Whatever
    the function raises is raised here. After OperationalError or InterfaceError a connection that
    no longer answers is dropped, so that the next call makes a new one.
    """
    pool = _running_pool("db", settings.DB_THREADS)
    call = functools.partial(function, *args, **kwargs)
    return await _run_on(pool, functools.partial(_with_its_connection, call))


async def until_available(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `in_thread` does, again and again while the database is away."""
    while True:
        try:
            return await in_thread(function, *args, **kwargs)
        except (OperationalError, InterfaceError):
            await asyncio.sleep(RETRY_AFTER)


def _with_its_connection(call: Callable[[], T]) -> T:
    with CONNECTIONS_BUSY.labels("threads").track_inprogress():
        return call()


async def in_slow_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `in_thread`, for calls that wait for a mail server or the like.

    They have SLOW_THREADS threads of their own, so that however long they hang, no call to the
    database waits for them.
    """
    pool = _running_pool("slow", SLOW_THREADS)
    return await _run_on(pool, functools.partial(function, *args, **kwargs))


async def _run_on(pool: _Pool, call: Callable[[], T]) -> T:
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool.executor, context.run, pool.run, call)


def shutdown() -> None:
    """Stop the threads and close their connections, at the end of a process or of a test run.

    A later `in_thread` begins anew.
    """
    with _pools_lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.shutdown()
