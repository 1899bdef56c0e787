"""What catches the rest: jobs of lost workers, replies without a job, chunks without a reply.

Every worker runs it on a timer; an advisory lock lets one at a time do the work.
"""

from typing import Any, Final

import structlog
from django.db import connection, transaction

from chat.replies import metrics
from chat.services.replies import AGAIN_PRIORITY, STREAM_TASK, enqueue_lost_reply
from core.jobs import announce_jobs

logger = structlog.get_logger(__name__)

# Seconds without a heartbeat after which a worker is taken for dead. Taking one for dead that
# is not costs a restart of its replies, never their correctness: `attempt` fences it out.
STALLED_SECONDS: Final = 6.0
# Seconds without a heartbeat after which a worker is forgotten. By then it is dead, or ends itself
# when it wakes; if not, its next fetch fails, which ends it too.
GONE_SECONDS: Final = 30.0
# A job that has lost this many workers is given up, but for replies, which count for themselves.
_MAX_LOSSES: Final = 5
_ADVISORY_LOCK: Final = 0x43484154  # any number that nothing else in this database uses

# A new row under a new id, so that a worker that was only slow cannot finish its successor's job.
_TAKE_OVER: Final = """
WITH lost AS (
    SELECT j.id FROM procrastinate_jobs j
    LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
    WHERE j.status = 'doing'
      AND (w.id IS NULL OR w.last_heartbeat < now() - %(stalled)s * interval '1 second')
      AND now() - pg_postmaster_start_time() > %(stalled)s * interval '1 second'
      -- If this worker's own is old too, it is the database that was slow.
      AND EXISTS (
          SELECT FROM procrastinate_workers
          WHERE id = %(judge)s AND last_heartbeat > now() - %(stalled)s / 2 * interval '1 second'
      )
    FOR UPDATE OF j SKIP LOCKED
), gone AS (
    DELETE FROM procrastinate_jobs j USING lost WHERE j.id = lost.id RETURNING j.*
)
INSERT INTO procrastinate_jobs
    (queue_name, task_name, priority, lock, queueing_lock, args, status, attempts)
SELECT queue_name, task_name,
       CASE WHEN task_name = %(task)s THEN %(again)s ELSE priority END, lock, queueing_lock,
       args,
       CASE WHEN task_name <> %(task)s AND attempts >= %(losses)s THEN 'failed' ELSE 'todo'
       END::procrastinate_job_status,
       attempts + 1
FROM gone
ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
RETURNING id, task_name, status
"""
_WITHOUT_JOB: Final = """
SELECT m.id FROM chat_message m
WHERE m.status IN ('pending', 'streaming') AND NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs j
    WHERE j.task_name = %(task)s AND j.status IN ('todo', 'doing')
      AND j.args ->> 'message_id' = m.id::text
)
LIMIT 500
"""
_ORPHANED_CHUNKS: Final = """
DELETE FROM chat_replychunk c WHERE NOT EXISTS (
    SELECT 1 FROM chat_message m
    WHERE m.id = c.message_id AND m.attempt = c.attempt AND m.status = 'streaming'
)
"""
# Successful jobs are deleted when they end; what failed stays for a week to be looked at.
_OLD_JOBS: Final = """
DELETE FROM procrastinate_jobs j
WHERE j.status IN ('succeeded', 'failed', 'cancelled', 'aborted') AND NOT EXISTS (
    SELECT 1 FROM procrastinate_events e
    WHERE e.job_id = j.id AND e.at > now() - interval '7 days'
)
"""
_DEAD_WORKERS: Final = """
DELETE FROM procrastinate_workers
WHERE last_heartbeat < now() - %(gone)s * interval '1 second'
  -- As above: if this worker's own is old too, it is the database that was slow.
  AND EXISTS (
      SELECT FROM procrastinate_workers
      WHERE id = %(judge)s AND last_heartbeat > now() - %(stalled)s / 2 * interval '1 second'
  )
"""


def take_over(*, judge: int | None) -> int:
    """Give the jobs of lost workers, and replies that have no job, to the queue again.

    `judge` is the caller's own worker id; with None, as right after an outage, when every heartbeat
    is old, only replies without a job are. Returns how many. Raises what the database raises.
    """
    jobs: list[tuple[int, str, str]] = []
    with transaction.atomic(), connection.cursor() as cursor:
        if not _alone(cursor):
            return 0
        if judge is not None:
            cursor.execute(
                _TAKE_OVER,
                {
                    "stalled": STALLED_SECONDS,
                    "task": STREAM_TASK,
                    "losses": _MAX_LOSSES,
                    "judge": judge,
                    "again": AGAIN_PRIORITY,
                },
            )
            jobs = cursor.fetchall()
        cursor.execute(_WITHOUT_JOB, {"task": STREAM_TASK})
        revived = [row[0] for row in cursor.fetchall() if enqueue_lost_reply(message_id=row[0])]
    for job_id, task, status in jobs:
        metrics.TAKEOVERS.inc()
        logger.warning("job_taken_over", job=job_id, task=task, status=status)
    for message_id in revived:
        metrics.REVIVED.inc()
        logger.warning("reply_revived", message=str(message_id))
    if jobs:
        announce_jobs()
    return len(jobs) + len(revived)


def clean_up(*, judge: int | None) -> None:
    """Delete chunks without a reply, old jobs, and workers that are gone.

    `judge` is as for `take_over`: with None no worker is deleted.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if not _alone(cursor):
            return
        cursor.execute(_ORPHANED_CHUNKS)
        cursor.execute(_OLD_JOBS)
        if judge is not None:
            cursor.execute(
                _DEAD_WORKERS, {"gone": GONE_SECONDS, "stalled": STALLED_SECONDS, "judge": judge}
            )


def requeue_forgotten(*, worker_id: int, forgotten: set[int]) -> None:
    """Give back jobs that the queue believes this worker runs, and it does not.

    That is what a fetch leaves whose answer was lost with its connection.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL"
            " WHERE id = ANY(%s) AND worker_id = %s AND status = 'doing'",
            [list(forgotten), worker_id],
        )
    logger.warning("jobs_forgotten", jobs=sorted(forgotten))
    announce_jobs()


def jobs_of(worker_id: int) -> set[int]:
    """Return the ids of the jobs that the queue believes a worker runs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM procrastinate_jobs WHERE worker_id = %s AND status = 'doing'",
            [worker_id],
        )
        return {row[0] for row in cursor.fetchall()}


def _alone(cursor: Any) -> bool:
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
    return bool(cursor.fetchone()[0])
