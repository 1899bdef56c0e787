"""Jobs that commit with the rows they are about, announced to workers after the commit."""

import json
from datetime import datetime
from typing import Any

import psycopg
from django.db import OperationalError, connection
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import JobDeferrer
from procrastinate.tasks import Task

from core.commits import after_commit

# The channel every Procrastinate worker listens to, whatever its queues.
_ANNOUNCEMENTS = "procrastinate_any_queue_v1"
# Our own channel to every worker process, see `chatire.worker.connector`.
SIGNALS = "chatire_worker_signals"


def enqueue(
    task: Task[..., Any, Any],
    *,
    run_at: datetime | None = None,
    lock: str | None = None,
    queueing_lock: str | None = None,
    priority: int | None = None,
    **arguments: Any,
) -> int:
    """Store a job in the caller's transaction and wake a worker once it has committed.

    `run_at` is the earliest time it may run; two jobs with one `lock` never run at once.
    Returns the job's id. Raises `procrastinate.exceptions.AlreadyEnqueued` if a job with the
    same `queueing_lock` waits already, OperationalError if the database is away.
    """
    options = _options(run_at, lock, queueing_lock, priority)
    return _defer(task.configure(**options), arguments, announced=run_at is None)


def enqueue_named(
    task_name: str,
    *,
    run_at: datetime | None = None,
    lock: str | None = None,
    queueing_lock: str | None = None,
    priority: int | None = None,
    **arguments: Any,
) -> int:
    """Do what `enqueue` does, for services, which name a task but may not import it."""
    options = _options(run_at, lock, queueing_lock, priority)
    return _defer(app.configure_task(task_name, **options), arguments, announced=run_at is None)


def _options(
    run_at: datetime | None, lock: str | None, queueing_lock: str | None, priority: int | None
) -> dict[str, Any]:
    options = {
        "schedule_at": run_at,
        "lock": lock,
        "queueing_lock": queueing_lock,
        "priority": priority,
    }
    return {name: value for name, value in options.items() if value is not None}


def _defer(deferrer: JobDeferrer, arguments: dict[str, Any], *, announced: bool) -> int:
    try:
        job_id = deferrer.defer(**arguments)
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.OperationalError | psycopg.InterfaceError):
            # As any other statement in the caller's transaction says it.
            raise OperationalError("the job queue's database is away") from error
        raise
    if announced:
        # A lost announcement only delays the job until the next poll.
        after_commit(announce_jobs, lost="announcement_lost")
    return job_id


def announce_jobs() -> None:
    """Wake every worker to look for jobs now. Not from inside a transaction."""
    _notify(_ANNOUNCEMENTS, json.dumps({"type": "job_inserted", "job_id": 0}))


def signal_workers_on_commit(signal: str, **values: str) -> None:
    """Tell every worker process something once the transaction commits; it may get lost."""
    payload = json.dumps({"signal": signal, **values})
    after_commit(lambda: _notify(SIGNALS, payload), lost="signal_lost")


def _notify(channel: str, payload: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])
