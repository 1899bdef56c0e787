"""Blocking calls from async code."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.backends.postgresql.base import DatabaseWrapper

from accounts.models import User
from core import threads
from core.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 20  # seconds
SIZE = 8

request_id = contextvars.ContextVar("request_id", default="none")


@pytest.fixture(autouse=True)
def pool(settings):
    """A pool of SIZE threads, new for each test."""
    threads.shutdown()
    settings.DB_THREADS = SIZE
    yield
    threads.shutdown()


def backend_pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def terminate(pid):
    with connection.cursor() as cursor:
        # Waits until it is gone.
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert cursor.fetchone()[0]


def terminate_and_close(pid):
    try:
        terminate(pid)
    finally:
        connection.close()


async def test_result_and_arguments_pass_through():
    assert await in_thread(lambda *args, **kwargs: (args, kwargs), 1, b=2) == ((1,), {"b": 2})


async def test_exception_passes_through():
    def fail():
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        await in_thread(fail)


async def test_fifty_calls_run_as_many_at_once_as_there_are_threads():
    together = threading.Barrier(SIZE)
    pids = set()

    def meet():
        # Passes only if SIZE calls are inside at the same time.
        together.wait(timeout=DEADLINE)
        pids.add(backend_pid())

    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(in_thread(meet) for _ in range(SIZE * 6)))
    assert 1 < len(pids) <= SIZE


async def test_fifty_concurrent_queries_all_answer():
    async with asyncio.timeout(DEADLINE):
        answers = await asyncio.gather(*(in_thread(User.objects.count) for _ in range(50)))
    assert answers == [0] * 50


async def test_loop_stays_free_while_every_thread_is_busy():
    release = threading.Event()
    calls = [asyncio.ensure_future(in_thread(release.wait, DEADLINE)) for _ in range(SIZE * 2)]
    await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    release.set()
    async with asyncio.timeout(DEADLINE):
        assert all(await asyncio.gather(*calls))


async def test_a_thread_keeps_its_connection():
    pids = {await in_thread(backend_pid) for _ in range(3 * SIZE)}
    assert len(pids) <= SIZE


async def test_no_health_check_goes_before_a_call_on_a_sound_connection(monkeypatch):
    checks = []
    monkeypatch.setattr(DatabaseWrapper, "is_usable", lambda wrapper: checks.append(1) or True)
    await asyncio.gather(*(in_thread(backend_pid) for _ in range(30)))
    assert checks == []


def test_no_health_check_goes_before_a_request_on_a_sound_connection(api, alice, monkeypatch):
    client = api(alice)
    checks = []
    monkeypatch.setattr(DatabaseWrapper, "is_usable", lambda wrapper: checks.append(1) or True)
    # What Django does when a request comes, which its test client leaves out.
    close_old_connections()
    assert client.get("/api/conversations/").status_code == 200
    assert checks == []


def test_request_after_its_connection_was_killed_is_answered(api, alice):
    client = api(alice)
    pid = backend_pid()
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(terminate_and_close, pid).result(DEADLINE)
    assert client.get("/api/conversations/").status_code == 200
    assert backend_pid() != pid


async def test_context_variables_are_seen_and_not_leaked():
    request_id.set("7f3a")
    assert await in_thread(request_id.get) == "7f3a"
    await in_thread(request_id.set, "changed")
    assert request_id.get() == "7f3a"


async def test_connection_killed_while_idle_is_replaced_unnoticed(settings):
    threads.shutdown()
    settings.DB_THREADS = 2
    first = await in_thread(backend_pid)
    await in_thread_of_its_own(terminate, first)
    for _ in range(4):
        assert await in_thread(backend_pid) != first


async def test_connection_killed_during_a_call_heals_by_the_next(settings):
    threads.shutdown()
    settings.DB_THREADS = 1
    running = threading.Event()
    pid = await in_thread(backend_pid)

    def sleep_long():
        with connection.cursor() as cursor:
            running.set()
            cursor.execute("SELECT pg_sleep(%s)", [DEADLINE])

    call = asyncio.ensure_future(in_thread(sleep_long))
    assert await asyncio.to_thread(running.wait, DEADLINE)
    await in_thread_of_its_own(terminate, pid)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises((OperationalError, InterfaceError)):
            await call
        assert await in_thread(backend_pid) != pid


async def test_connection_survives_an_error_that_is_not_its_own(settings):
    threads.shutdown()
    settings.DB_THREADS = 1

    def fail():
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 1; SELECT pg_sleep(1)")

    pid = await in_thread(backend_pid)
    with pytest.raises(OperationalError):
        await in_thread(fail)
    assert await in_thread(backend_pid) == pid


async def test_aged_connection_is_replaced(settings):
    threads.shutdown()
    settings.DB_THREADS = 1

    def age():
        connection.close_at = 0

    pid = await in_thread(backend_pid)
    await in_thread(age)
    assert await in_thread(backend_pid) != pid


async def test_waiting_call_can_be_cancelled(settings):
    threads.shutdown()
    settings.DB_THREADS = 1
    release = threading.Event()
    called = []
    busy = asyncio.ensure_future(in_thread(release.wait, DEADLINE))
    waiting = asyncio.ensure_future(in_thread(called.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # Lets the future tell the pool, which it does in a callback of its own.
        await asyncio.sleep(0)
        release.set()
        await busy
        await in_thread(lambda: None)
    assert called == []


async def test_shutdown_closes_every_connection():
    pids = set(await asyncio.gather(*(in_thread(backend_pid) for _ in range(20))))
    await asyncio.to_thread(threads.shutdown)

    def still_there():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [list(pids)]
            )
            return cursor.fetchone()[0]

    async with asyncio.timeout(DEADLINE):
        # Postgres notices a closed connection a moment later.
        while await in_thread_of_its_own(still_there):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def in_thread_of_its_own(function, *args):
    """Use the database from outside the pool."""

    def call():
        try:
            return function(*args)
        finally:
            connection.close()

    return await asyncio.to_thread(call)


async def test_while_the_database_is_away_it_is_asked_again(monkeypatch):
    monkeypatch.setattr(threads, "RETRY_AFTER", 0)
    failures = [OperationalError("away"), InterfaceError("away")]

    def ask(answer):
        if failures:
            raise failures.pop()
        return answer

    assert await threads.until_available(ask, 7) == 7

    def fail():
        raise LookupError("here")

    with pytest.raises(LookupError):
        await threads.until_available(fail)
