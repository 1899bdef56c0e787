"""Jobs that commit with the rows they are about."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from channels_pgnotify.connection import connection_params
from core.jobs import SIGNALS, enqueue, enqueue_named, signal_workers_on_commit
from notifications.tasks import prune

DEADLINE = 10
ANNOUNCEMENTS = "procrastinate_any_queue_v1"


def waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'test.task'")
        return int(cursor.fetchone()[0])


def test_job_is_rolled_back_with_its_transaction(db: None) -> None:
    with transaction.atomic():
        enqueue_named("test.task", number=1)
        assert waiting() == 1
        transaction.set_rollback(True)
    assert waiting() == 0


@pytest.fixture
def hears() -> Iterator[Callable[[], list[str]]]:
    """`hears()`: which channels a worker process has been notified on since it was last asked."""
    params = connection_params(connection.settings_dict)
    with psycopg.connect(autocommit=True, **params) as worker:
        for channel in (ANNOUNCEMENTS, SIGNALS, "so_far"):
            worker.execute(f"LISTEN {channel}")

        def hear() -> list[str]:
            with psycopg.connect(autocommit=True, **params) as other:
                other.execute("NOTIFY so_far")
            heard = []
            for notification in worker.notifies(timeout=DEADLINE):
                if notification.channel == "so_far":
                    return heard
                heard.append(notification.channel)
            raise TimeoutError

        yield hear


@pytest.fixture
def notified_in_transaction() -> Iterator[list[bool]]:
    """For each NOTIFY of this thread, whether a transaction was open."""
    where: list[bool] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "pg_notify" in sql:
            where.append(connection.in_atomic_block)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield where


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "call",
    [
        lambda: enqueue_named("test.task"),
        lambda: enqueue(prune, timestamp=0),
        lambda: signal_workers_on_commit("stop"),
    ],
    ids=["enqueue_named", "enqueue", "signal"],
)
def test_workers_are_told_once_after_the_commit_and_never_in_the_transaction(
    call: Callable[[], object],
    hears: Callable[[], list[str]],
    notified_in_transaction: list[bool],
) -> None:
    """A NOTIFY in a transaction would make all such commits queue for one lock."""
    with transaction.atomic():
        call()
        transaction.set_rollback(True)
    assert hears() == []
    with transaction.atomic():
        call()
        assert hears() == []
    assert len(hears()) == 1
    assert notified_in_transaction == [False]


@pytest.mark.django_db(transaction=True)
def test_job_for_later_is_announced_to_nobody(hears: Callable[[], list[str]]) -> None:
    later = timezone.now() + timedelta(hours=1)
    enqueue_named("test.task", run_at=later)
    enqueue(prune, run_at=later, timestamp=0)
    assert hears() == []
    assert {job.scheduled_at for job in ProcrastinateJob.objects.all()} == {later}


@pytest.mark.django_db(transaction=True)
def test_lost_announcement_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("core.jobs._notify", away)
    with transaction.atomic():
        enqueue_named("test.task")
        signal_workers_on_commit("stop")
    assert waiting() == 1


def test_job_is_stored_as_it_was_asked_for(db: None) -> None:
    options = {"lock": "a room", "queueing_lock": "one waits", "priority": 3}
    ids = [
        enqueue_named("test.task", **options, number=1),
        enqueue(prune, **options | {"queueing_lock": "another"}, timestamp=0),
    ]
    named, given = ProcrastinateJob.objects.order_by("id")
    assert [named.id, given.id] == ids
    assert [(job.lock, job.priority) for job in (named, given)] == [("a room", 3)] * 2
    assert (named.queueing_lock, named.args) == ("one waits", {"number": 1})
    assert (given.queueing_lock, given.task_name) == ("another", prune.name)
    with pytest.raises(AlreadyEnqueued), transaction.atomic():
        enqueue_named("test.task", queueing_lock="one waits")


def test_mistake_in_a_job_is_not_taken_for_an_absent_database(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise psycopg.ProgrammingError("no such function")

    monkeypatch.setattr(type(app.connector), "connection", property(wrong))
    with pytest.raises(ConnectorException):
        enqueue_named("test.task")


def test_absent_database_is_told_as_of_any_other_statement(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(type(app.connector), "connection", property(away))
    with pytest.raises(OperationalError):
        enqueue_named("test.task")
