"""A real Procrastinate worker on the test database, for the queue of deliveries only."""

import asyncio

from procrastinate.contrib.django import app
from procrastinate.periodic import PeriodicRegistry

from notifications.tasks import QUEUE

DEADLINE = 20.0


async def run_due_jobs(*, concurrency: int = 4) -> None:
    """Run every delivery job that is due, then stop."""
    worker = app.with_connector(app.connector.get_worker_connector())
    # Tests say themselves when a periodic task runs.
    worker.periodic_registry = PeriodicRegistry()
    async with worker.open_async(), asyncio.timeout(DEADLINE):
        await worker.run_worker_async(
            queues=[QUEUE],
            wait=False,
            listen_notify=False,
            install_signal_handlers=False,
            concurrency=concurrency,
        )
