"""What the tests of notifications share."""

import asyncio
from collections.abc import Callable

import pytest
from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from tests.notifications.doubles import RecordingProvider
from tests.notifications.worker import run_due_jobs


@pytest.fixture(autouse=True)
def _nothing_left_over(transactional_db: None) -> None:
    """The job table is not Django's, so flushing between tests leaves it as it is."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    RecordingProvider.sent.clear()
    RecordingProvider.failures.clear()


@pytest.fixture
def sent() -> list:
    """What the recording provider sent, as (payload, context)."""
    return RecordingProvider.sent


@pytest.fixture
def failures() -> list[Exception]:
    """What the recording provider raises at its next attempts."""
    return RecordingProvider.failures


@pytest.fixture
def work() -> Callable[[], None]:
    """`work()`: a worker runs what is due and stops."""
    return lambda: asyncio.run(run_due_jobs())


@pytest.fixture
def jobs() -> Callable[[], list[ProcrastinateJob]]:
    """`jobs()`: the delivery jobs there are."""
    return lambda: list(ProcrastinateJob.objects.filter(task_name="notifications.deliver"))


@pytest.fixture
def make_due() -> Callable[[], None]:
    """`make_due()`: whatever waits for its time need not wait any longer."""

    def hurry() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")

    return hurry
