"""What becomes of a delivery: sent once, retried, given up, taken over from a killed worker."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.retry import RetryDecision

from notifications import NotificationError, services, tasks
from notifications.models import Delivery
from notifications.services import notify
from notifications.utils import notify as notify_as_before
from tests.notifications.doubles import HangingProvider, RecordingProvider
from tests.notifications.worker import DEADLINE, run_due_jobs

HELLO = {
    "category": "message",
    "action": "replied",
    "short_description": "Your answer is here",
    "channels": ["recording"],
}


def delivery() -> Delivery:
    return Delivery.objects.get()


def test_failed_attempt_is_repeated_after_a_wait_that_doubles(
    alice, work, sent, failures, jobs, make_due
):
    failures += [OSError("no route"), OSError("no route")]
    notify(recipient=alice, **HELLO)
    for wait in (5, 10):
        before = timezone.now()
        work()
        [job] = jobs()
        assert job.status == "todo"
        assert before <= job.scheduled_at - timedelta(seconds=wait) <= timezone.now()
        assert (delivery().status, delivery().error_code) == ("pending", "OSError")
        assert sent == []
        make_due()
    work()
    assert len(sent) == 1
    assert (delivery().status, delivery().attempts) == ("delivered", 3)
    assert jobs() == []


def test_delivery_that_keeps_failing_is_given_up(
    alice, work, sent, failures, jobs, make_due, settings
):
    settings.NOTIFICATIONS_MAX_RETRIES = 2
    failures += [OSError()] * 5
    notify(recipient=alice, **HELLO)
    for _ in range(4):
        work()
        make_due()
    assert (delivery().status, delivery().attempts) == ("failed", 3)
    assert delivery().error_code == "OSError"
    assert [job.status for job in jobs()] == ["failed"]
    assert sent == []


def test_last_attempt_is_made(alice, work, sent, failures, make_due, settings):
    settings.NOTIFICATIONS_MAX_RETRIES = 2
    failures += [OSError()] * 2
    notify(recipient=alice, **HELLO)
    for _ in range(3):
        work()
        make_due()
    assert len(sent) == 1
    assert (delivery().status, delivery().attempts) == ("delivered", 3)


def test_slow_attempt_that_fails_takes_nothing_back_from_its_successor(alice, sent, monkeypatch):
    notify(recipient=alice, **HELLO)
    send = RecordingProvider.send

    def fail_when_overtaken(self, payload):
        monkeypatch.undo()
        assert send is RecordingProvider.send
        end_lease()
        services.deliver(delivery().pk)
        raise OSError("too slow")

    monkeypatch.setattr(RecordingProvider, "send", fail_when_overtaken)
    with pytest.raises(services.DeliveryPostponed):
        services.deliver(delivery().pk)
    assert len(sent) == 1
    assert (delivery().status, delivery().error_code) == ("delivered", "")
    services.deliver(delivery().pk)
    assert len(sent) == 1


def test_wait_has_a_limit():
    assert services.backoff(1) == 5
    assert services.backoff(10_000) == services.LONGEST_WAIT


def test_nothing_is_retried_where_retries_are_off(alice, work, failures, settings):
    settings.NOTIFICATIONS_RETRY = False
    failures.append(OSError())
    notify(recipient=alice, **HELLO)
    work()
    assert (delivery().status, delivery().attempts) == ("failed", 1)


def test_failure_that_a_retry_cannot_mend_is_final(alice, work, failures):
    failures.append(NotificationError("no such address"))
    notify(recipient=alice, **HELLO)
    work()
    assert (delivery().status, delivery().attempts) == ("failed", 1)


def test_provider_that_is_gone_fails_the_delivery(alice, work):
    notify(recipient=alice, **HELLO)
    Delivery.objects.update(provider="gone")
    work()
    assert (delivery().status, delivery().error_code) == ("failed", "NotificationError")


def test_error_text_is_kept_out_of_rows_and_logs(alice, work, failures, caplog):
    failures.append(NotificationError("alice@example.org said secret"))
    notify(recipient=alice, **HELLO)
    work()
    assert "secret" not in delivery().error_code
    ours = [record for record in caplog.records if record.name.startswith("notifications")]
    assert ours
    assert not any("secret" in record.getMessage() for record in ours)


def test_job_that_runs_again_after_it_was_sent_sends_nothing(alice, work, sent):
    notify(recipient=alice, **HELLO)
    work()
    services.deliver(delivery().pk)
    assert len(sent) == 1
    assert delivery().attempts == 1


def test_deleted_delivery_is_nothing_to_do(alice, work, sent, jobs):
    notify(recipient=alice, **HELLO).delete()
    work()
    assert sent == []
    assert jobs() == []


def test_what_was_read_meanwhile_is_not_sent(alice, work, sent):
    notification = notify(recipient=alice, **HELLO)
    services.mark_read(user=alice, notification_id=notification.pk)
    work()
    assert sent == []
    assert delivery().status == "skipped"


def test_deactivated_person_is_not_notified(alice, work, sent):
    notify(recipient=alice, **HELLO)
    alice.is_active = False
    alice.save()
    work()
    assert sent == []
    assert delivery().status == "skipped"


def test_notification_to_nobody_in_particular_is_sent(work, sent):
    notify_as_before(**HELLO)
    work()
    assert [payload["category"] for payload, _ in sent] == ["message"]
    assert delivery().status == "delivered"


def is_looking(delivery: Delivery) -> bool:
    return delivery.notification.category == "message"


def test_who_is_looking_is_not_notified(alice, work, sent, settings):
    settings.NOTIFICATIONS_PRESENCE_CHECK = f"{__name__}.is_looking"
    notify(recipient=alice, **HELLO)
    notify(recipient=alice, **HELLO | {"category": "system"})
    work()
    assert [payload["category"] for payload, _ in sent] == ["system"]


def test_killed_worker_loses_no_delivery(alice, work, sent, tmp_path):
    notify(recipient=alice, **HELLO)
    # Its provider says that it was called and then hangs.
    called = tmp_path / "called"
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.notifications.hanging_worker", called],
        env=os.environ | {"TEST_DATABASE": connection.settings_dict["NAME"]},
        cwd=Path(__file__).parents[2],
    )
    try:
        wait_for(called, worker)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(DEADLINE)
    assert services.resume_deliveries() == 0, "it may be alive yet"
    end_lease()

    tasks.resume.defer(timestamp=0)
    work()
    work()  # what the first took up

    assert len(sent) == 1
    assert (delivery().status, delivery().attempts) == ("delivered", 2)


def end_lease() -> None:
    """Let the attempt that was made last be over long ago."""
    Delivery.objects.update(leased_until=timezone.now() - timedelta(seconds=1))


def wait_for(file: Path, process: subprocess.Popen) -> None:
    """Wait until the process has made the file."""

    deadline = time.monotonic() + DEADLINE
    while not file.exists():
        assert process.poll() is None, "the worker ended by itself"
        assert time.monotonic() < deadline, "the provider was not called"
        time.sleep(0.05)


def test_delivery_that_kills_its_workers_is_given_up(alice, work, sent, jobs):
    notify(recipient=alice, **HELLO)
    Delivery.objects.update(attempts=services.most_attempts())
    work()
    assert sent == []
    assert (delivery().status, delivery().error_code) == ("failed", "worker_lost")
    assert [job.status for job in jobs()] == ["failed"]


def test_delivery_in_the_hands_of_another_worker_is_left_to_it(alice, work, sent, jobs):
    notify(recipient=alice, **HELLO)
    lease = timezone.now() + timedelta(minutes=1)
    Delivery.objects.update(leased_until=lease, attempts=1)
    work()
    assert sent == []
    [job] = jobs()
    assert abs(job.scheduled_at - lease) < timedelta(seconds=1)
    end_lease()
    assert services.resume_deliveries() == 0, "its job waits already"


@pytest.mark.parametrize("status", ["failed", "doing"])
def test_delivery_whose_job_will_not_run_is_taken_up_again(alice, work, sent, status):
    notify(recipient=alice, **HELLO)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = %s", [status])
    assert services.resume_deliveries() == 0, "it is young"
    Delivery.objects.update(created_at=timezone.now() - services.PATIENCE - timedelta(minutes=1))
    assert services.resume_deliveries() == 1
    assert services.resume_deliveries() == 0
    work()
    assert len(sent) == 1


def test_delivery_that_is_settled_or_in_hand_is_not_taken_up_again(alice, work, sent, jobs):
    for _ in range(3):
        notify(recipient=alice, **HELLO)
    delivered, in_hand, lost = Delivery.objects.order_by("id")
    now = timezone.now()
    Delivery.objects.update(created_at=now - services.PATIENCE * 2, leased_until=now)
    Delivery.objects.filter(pk=delivered.pk).update(status="delivered")
    Delivery.objects.filter(pk=in_hand.pk).update(leased_until=now + timedelta(minutes=1))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    assert services.resume_deliveries() == 1
    assert [job.args["delivery_id"] for job in jobs() if job.status == "todo"] == [str(lost.pk)]


def test_no_more_are_taken_up_at_once_than_a_round_has_room_for(
    alice, work, sent, jobs, monkeypatch
):
    monkeypatch.setattr("notifications.services.deliveries.MOST_RESUMED", 2)
    for _ in range(3):
        notify(recipient=alice, **HELLO)
    Delivery.objects.update(created_at=timezone.now() - services.PATIENCE * 2)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    oldest = [str(pk) for pk in Delivery.objects.order_by("id").values_list("pk", flat=True)]
    assert services.resume_deliveries() == 2
    taken = [job.args["delivery_id"] for job in jobs() if job.status == "todo"]
    assert sorted(taken) == oldest[:2]
    assert services.resume_deliveries() == 1
    work()
    assert len(sent) == 3


def test_job_of_another_task_is_no_job_of_a_delivery(alice, jobs):
    notify(recipient=alice, **HELLO)
    Delivery.objects.update(created_at=timezone.now() - services.PATIENCE * 2)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET task_name = 'another.task'")
    assert services.resume_deliveries() == 1


def test_delivery_knows_whether_it_waits_for_another_machine(alice, jobs):
    for channel in ("console", "recording"):
        notify(recipient=alice, **HELLO | {"channels": [channel]})
    by_provider = {job.args["delivery_id"]: (job.args["slow"], job.scheduled_at) for job in jobs()}
    deliveries = Delivery.objects.order_by("id")
    # Both are due at once, so that workers are told of them.
    assert [by_provider[str(one.pk)] for one in deliveries] == [(False, None), (True, None)]


def test_delivery_of_a_provider_that_is_gone_is_taken_for_slow(alice, jobs):
    notify(recipient=alice, **HELLO)
    Delivery.objects.update(provider="gone", created_at=timezone.now() - services.PATIENCE * 2)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    services.resume_deliveries()
    [job] = [job for job in jobs() if job.status == "todo"]
    assert job.args["slow"] is True


def test_connections_cut_by_the_server_are_made_anew(alice, work, sent):
    notify(recipient=alice, **HELLO)
    work()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert any(ended for [ended] in cursor.fetchall())
    notify(recipient=alice, **HELLO)
    work()
    assert len(sent) == 2


@pytest.mark.parametrize("error", [OperationalError(), asyncio.CancelledError()])
def test_job_cut_off_by_the_database_or_a_shutdown_runs_again(alice, jobs, error):
    notify(recipient=alice, **HELLO)
    [job] = jobs()
    strategy = tasks.deliver.retry_strategy
    decision = strategy.get_retry_decision(exception=error, job=job.procrastinate_job)
    assert isinstance(decision, RetryDecision)


def test_job_that_failed_by_a_mistake_of_ours_is_not_repeated(alice, jobs):
    notify(recipient=alice, **HELLO)
    [job] = jobs()
    strategy = tasks.deliver.retry_strategy
    assert strategy.get_retry_decision(exception=KeyError(), job=job.procrastinate_job) is None


def test_hanging_mail_server_keeps_no_other_delivery_waiting(alice, make_due):
    count = tasks.MOST_SLOW + 4
    HangingProvider.released.clear()
    for _ in range(count):
        notify(recipient=alice, **HELLO | {"channels": ["hanging"]})
    notify(recipient=alice, **HELLO | {"channels": ["console"]})
    states = Delivery.objects.values_list("status", flat=True)

    worker = threading.Thread(
        target=lambda: asyncio.run(run_due_jobs(concurrency=tasks.MOST_SLOW + 1))
    )
    worker.start()
    try:
        deadline = time.monotonic() + DEADLINE
        while "delivered" not in states.filter(channel="console").all():
            assert time.monotonic() < deadline, "it waits for the hanging ones"
            time.sleep(0.05)
        assert set(states.filter(channel="hanging").all()) == {"pending"}
    finally:
        HangingProvider.released.set()
        worker.join(DEADLINE)

    # Those there was no room for come later, and have lost no attempt.
    make_due()
    asyncio.run(run_due_jobs(concurrency=1))
    assert set(states.all()) == {"delivered"}
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


def test_old_settled_deliveries_are_pruned_and_no_others(alice, work):
    for _ in range(3):
        notify(recipient=alice, **HELLO)
    settled_old, settled, pending_old = Delivery.objects.order_by("id")
    Delivery.objects.filter(pk__in=[settled_old.pk, settled.pk]).update(status="delivered")
    Delivery.objects.filter(pk__in=[settled_old.pk, pending_old.pk]).update(
        created_at=timezone.now() - services.DELIVERIES_KEPT - timedelta(hours=1)
    )
    assert services.prune_deliveries() == 1
    assert set(Delivery.objects.all()) == {settled, pending_old}


def test_every_task_is_known_to_the_worker():
    assert {"notifications.deliver", "notifications.resume", "notifications.prune"} <= set(
        app.tasks
    )
    assert ProcrastinateJob.objects.count() == 0
