"""The channels and providers that come along."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer
from django.core import mail
from django.db import transaction

from core.threads import in_thread
from notifications import NotificationError
from notifications.channels import BaseNotificationChannel, ConsoleNotificationChannel
from notifications.models import Delivery, Notification
from notifications.providers import BaseNotificationProvider, EmailNotificationProvider
from notifications.services import notify
from notifications.utils import notify as notify_as_before
from tests.notifications.worker import DEADLINE, run_due_jobs

HELLO = {"category": "message", "action": "replied", "short_description": "Your answer is here"}


def test_email_goes_to_the_recipients_address_with_an_id_of_its_own(alice, work):
    notification = notify(recipient=alice, channels=["email"], url="https://x.example/c/1", **HELLO)
    work()
    [message] = mail.outbox
    assert message.to == ["alice@example.org"]
    assert message.subject == "Your answer is here"
    assert message.body == "Your answer is here\n\nhttps://x.example/c/1"
    assert str(notification.pk) in message.extra_headers["Message-ID"]


def test_line_breaks_cannot_make_further_mail_headers(alice, work):
    hostile = "Hello\r\nBcc: everyone@example.org"
    notify(recipient=alice, channels=["email"], **HELLO | {"short_description": hostile})
    work()
    [message] = mail.outbox
    assert message.subject == "Hello Bcc: everyone@example.org"
    assert message.recipients() == ["alice@example.org"]


def test_person_without_an_address_gets_no_email(alice, work):
    alice.email = ""
    alice.save()
    notify(recipient=alice, channels=["email"], **HELLO)
    work()
    assert mail.outbox == []
    assert not Delivery.objects.exists()


def test_bulk_mail_goes_out_as_several_messages():
    payloads = [{"subject": "Hello", "to": [f"{n}@example.org"]} for n in range(3)]
    EmailNotificationProvider().send_bulk(payloads)
    assert [message.to for message in mail.outbox] == [[f"{n}@example.org"] for n in range(3)]


def test_payload_that_is_no_email_is_refused():
    with pytest.raises(NotificationError, match="colour"):
        EmailNotificationProvider().send({"subject": "Hello", "colour": "red"})


def test_the_console_shows_the_notification_and_the_callers_context(alice):
    notification = Notification(recipient=alice, category="c", action="a", short_description="s")
    channel = ConsoleNotificationChannel(notification, {"room": 1})
    assert channel.build_payload("console") == {
        "context": {"room": 1},
        "payload": notification.to_json(),
    }


def test_console_channel_prints_the_notification(alice, work, capfd):
    notify(recipient=alice, channels=["console"], **HELLO)
    work()
    assert "Your answer is here" in capfd.readouterr().out


def test_websocket_channel_needs_someone_to_send_to(db):
    with pytest.raises(NotificationError):
        notify_as_before(channels=["websocket"], **HELLO)
    assert not Notification.objects.exists()


async def test_websocket_channel_sends_to_a_destination_of_ones_own(alice):
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("room.1", channel)
    await in_thread(
        notify_as_before,
        recipient=alice,
        channels=["websocket"],
        extra_data={"context": {"destination": "room.1", "message": {"text": "hello"}}},
        **HELLO,
    )
    await run_due_jobs()
    async with asyncio.timeout(DEADLINE):
        message = await layer.receive(channel)
    assert message["type"] == "notifs_websocket_message"
    assert json.loads(message["message"]) == {"text": "hello"}
    await layer.close()


def test_synchronous_backend_sends_after_the_commit_without_a_worker(alice, sent, jobs, settings):
    settings.NOTIFICATIONS_DELIVERY_BACKEND = "notifications.backends.Synchronous"
    with transaction.atomic():
        notify(recipient=alice, channels=["recording"], **HELLO)
        assert sent == []
    assert len(sent) == 1
    assert jobs() == []
    with transaction.atomic():
        notify(recipient=alice, channels=["recording"], **HELLO)
        transaction.set_rollback(True)
    assert len(sent) == 1


def test_bulk_context_sends_each_payload(alice, work, sent):
    notify(recipient=alice, channels=["recording"], context={"bulk": True}, **HELLO)
    Delivery.objects.update(payload=["one", "two"])
    work()
    assert [payload for payload, _ in sent] == ["one", "two"]


def test_channel_with_an_unknown_provider_is_refused(alice):
    class Lost(BaseNotificationChannel):
        name = "lost"
        providers = ("carrier_pigeon",)

        def build_payload(self, provider):
            return {}

    with pytest.raises(KeyError, match="carrier_pigeon"):
        Lost(Notification(recipient=alice)).notify()


def test_what_comes_along_is_registered_under_the_known_names():
    assert {"console", "email", "websocket"} <= set(BaseNotificationChannel.registered_channels)
    assert {"console", "email", "django_channels"} <= set(BaseNotificationProvider.providers)
