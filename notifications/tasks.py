"""The worker's side: delivering, and taking over from workers that were killed."""

import asyncio
from datetime import timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError
from procrastinate.contrib.django import app
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.utils import utcnow

from chatire.threads import in_slow_thread
from notifications import default_settings, services

QUEUE: str = default_settings.NOTIFICATIONS_QUEUE_NAME


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


@app.task(name=services.DELIVER_TASK, queue=QUEUE, retry=DeliveryRetry())
async def deliver(delivery_id: str) -> None:
    """Send one delivery."""
    await in_slow_thread(services.deliver, UUID(delivery_id))


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
