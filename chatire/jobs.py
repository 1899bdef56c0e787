"""Jobs that commit with the rows they are about, announced to workers after the commit."""

import json
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from procrastinate.tasks import Task

# The channel every Procrastinate worker listens to, whatever its queues.
_ANNOUNCEMENTS = "procrastinate_any_queue_v1"


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
    same `queueing_lock` waits already.
    """
    options: dict[str, Any] = {
        "schedule_at": run_at,
        "lock": lock,
        "queueing_lock": queueing_lock,
        "priority": priority,
    }
    chosen = {name: value for name, value in options.items() if value is not None}
    job_id = task.configure(**chosen).defer(**arguments)
    if run_at is None:
        # robust: a lost announcement only delays the job until the next poll.
        transaction.on_commit(lambda: _announce(job_id), robust=True)
    return job_id


def _announce(job_id: int) -> None:
    payload = json.dumps({"type": "job_inserted", "job_id": job_id})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [_ANNOUNCEMENTS, payload])
