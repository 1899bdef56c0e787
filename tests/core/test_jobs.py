"""Jobs that commit with the rows they are about."""

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from procrastinate.contrib.django import app

from core.jobs import enqueue_named


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


def test_absent_database_is_told_as_of_any_other_statement(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(type(app.connector), "connection", property(away))
    with pytest.raises(OperationalError):
        enqueue_named("test.task")
