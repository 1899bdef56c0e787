"""The worker's side: delivering, and taking over from workers that were killed."""

import asyncio
import random
from datetime import timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError
from procrastinate.contrib.django import app
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.utils import utcnow

from core.threads import SLOW_THREADS, in_slow_thread, in_thread
from notifications import default_settings, services

QUEUE: str = default_settings.NOTIFICATIONS_QUEUE_NAME
# Slow deliveries that one worker has in hand. While a mail server hangs, any number of them may
# be due; they must not take every place a worker has for jobs, since replies need them.
MOST_SLOW = 4 * SLOW_THREADS
# Seconds; this far apart at most are the tries of a delivery that there is no room for.
LONGEST_SPREAD = 300

_slow_running = 0


class DeliveryRetry(BaseRetryStrategy):
    """Tries again when the delivery says so, and when the database went away underneath it."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to run again; None ends the job as failed."""
        if isinstance(exception, services.DeliveryPostponed):
            return _in(exception.wait)
        if isinstance(exception, asyncio.CancelledError):
            # The worker stops and would not wait; if it was sent after all, it is settled.
            return _in(0)
        if isinstance(exception, OperationalError | InterfaceError):
            return _in(services.backoff(job.attempts + 1))
        return None


def _in(seconds: float) -> RetryDecision:
    return RetryDecision(retry_at=utcnow() + timedelta(seconds=seconds))


@app.task(name=services.DELIVER_TASK, queue=QUEUE, retry=DeliveryRetry(), pass_context=True)
async def deliver(context: JobContext, delivery_id: str, slow: bool) -> None:
    """Send one delivery; `slow` if that waits for another machine."""
    global _slow_running
    if not slow:
        await in_thread(services.deliver, UUID(delivery_id))
        return
    if _slow_running >= MOST_SLOW:
        raise services.DeliveryPostponed(_spread(context.job.attempts))
    _slow_running += 1
    try:
        await in_slow_thread(services.deliver, UUID(delivery_id))
    finally:
        _slow_running -= 1


def _spread(rejections: int) -> float:
    """Return seconds, at random: the more often there was no room, the further apart."""
    return random.uniform(1, min(4 * 2.0 ** min(rejections, 10), LONGEST_SPREAD))  # noqa: S311


@app.periodic(cron="* * * * *")
@app.task(name="notifications.resume", queue=QUEUE, queueing_lock="notifications.resume")
async def resume(timestamp: int) -> None:
    """Take deliveries up again that were lost with a worker."""
    await in_slow_thread(services.resume_deliveries)


@app.periodic(cron="17 3 * * *")
@app.task(name="notifications.prune", queue=QUEUE, queueing_lock="notifications.prune")
async def prune(timestamp: int) -> None:
    """Delete old deliveries once a day."""
    await in_slow_thread(services.prune_deliveries)
