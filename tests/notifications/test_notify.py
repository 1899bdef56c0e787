"""notify(): what is stored, when it is sent, and what is refused."""

import asyncio
import json
import threading

import pytest
from channels.layers import get_channel_layer
from django.db import connection, transaction

from core.errors import Invalid
from core.publishing import user_group
from core.threads import in_thread
from notifications import services
from notifications.models import Delivery, Notification
from notifications.services import notify
from notifications.states import notification_state
from tests.notifications.worker import DEADLINE, run_due_jobs

HELLO = {
    "category": "message",
    "action": "replied",
    "short_description": "Your answer is here",
    "channels": ["recording"],
}


@pytest.fixture
async def layer():
    """The configured channel layer, closed after the test."""
    layer = get_channel_layer()
    yield layer
    await layer.close()


async def test_notification_reaches_the_recipients_sockets_once(alice, bob, layer):
    channel = await layer.new_channel()
    await layer.group_add(user_group(alice.pk), channel)
    strangers = await layer.new_channel()
    await layer.group_add(user_group(bob.pk), strangers)

    notification = await in_thread(
        notify, recipient=alice, source=bob, **HELLO | {"channels": ["websocket"]}
    )
    await run_due_jobs()
    await run_due_jobs()
    # Published after it: whatever comes before it is all there was.
    await layer.group_send(user_group(alice.pk), {"type": "end"})
    await layer.group_send(user_group(bob.pk), {"type": "end"})

    async with asyncio.timeout(DEADLINE):
        message = await layer.receive(channel)
        assert await layer.receive(channel) == {"type": "end"}
        assert await layer.receive(strangers) == {"type": "end"}
    assert (message["type"], message["kind"]) == ("push", "notification.created")
    assert json.loads(message["frame"]) == {
        "type": "notification.created",
        "notification": notification_state(notification).model_dump(mode="json"),
        "unread": 1,
    }
    delivery = await in_thread(Delivery.objects.get)
    assert (delivery.status, delivery.attempts) == ("delivered", 1)
    assert delivery.delivered_at is not None


def test_notification_keeps_what_it_was_given(alice, bob):
    notify(
        recipient=alice,
        source=bob,
        obj=bob,
        url="/c/1",
        extra_data={"conversation": bob.pk},
        **HELLO,
    )
    stored = Notification.objects.get()
    assert notification_state(stored).model_dump(mode="json") == {
        "id": str(stored.pk),
        "category": "message",
        "action": "replied",
        "source": str(bob.pk),
        "source_display_name": "bob",
        "short_description": "Your answer is here",
        "url": "/c/1",
        "object": {"type": "user", "id": str(bob.pk)},
        "extra_data": {"conversation": str(bob.pk)},
        "is_read": False,
        "created_at": stored.create_date.isoformat().replace("+00:00", "Z"),
    }
    assert stored.obj == bob
    assert stored.pk.version == 7


def test_json_of_what_is_not_stored_is_that_of_what_is(alice, bob):
    notification = Notification(recipient=alice, obj=bob, category="c", action="a")
    told = json.dumps(notification.to_json())
    assert json.loads(told)["obj"] == str(bob.pk)
    notification.save()
    assert json.dumps(Notification.objects.get().to_json()) == told
    assert Notification(recipient=alice).to_json()["obj"] is None


def test_rolled_back_notification_leaves_and_sends_nothing(alice, work, sent, jobs):
    with transaction.atomic():
        notify(recipient=alice, **HELLO)
        transaction.set_rollback(True)
    work()
    assert sent == []
    assert jobs() == []
    assert not Notification.objects.exists()
    assert not Delivery.objects.exists()


def test_nothing_is_sent_before_the_commit(alice, work, sent):
    with transaction.atomic():
        notify(recipient=alice, **HELLO)
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(DEADLINE)
        assert not worker.is_alive()
        assert sent == []
    work()
    assert len(sent) == 1


def test_same_dedupe_key_notifies_once(alice, bob, work, sent):
    first = notify(recipient=alice, dedupe_key="reply:1", **HELLO)
    second = notify(recipient=alice, dedupe_key="reply:1", **HELLO | {"action": "again"})
    notify(recipient=alice, dedupe_key="reply:2", **HELLO)
    notify(recipient=bob, dedupe_key="reply:1", **HELLO)
    work()
    assert second == first
    assert len(sent) == 3
    assert Notification.objects.filter(recipient=alice).count() == 2


def test_same_dedupe_key_at_the_same_moment_notifies_once_and_harms_neither(alice, bob, work, sent):
    stored = threading.Event()
    results = []

    def other():
        try:
            with transaction.atomic():
                bob.display_name = "Robert"
                bob.save(update_fields=["display_name"])
                stored.set()
                # Waits for the first transaction inside Postgres.
                results.append(notify(recipient=alice, dedupe_key="reply:1", **HELLO))
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    with transaction.atomic():
        first = notify(recipient=alice, dedupe_key="reply:1", **HELLO)
        thread.start()
        assert stored.wait(DEADLINE)
    thread.join(DEADLINE)
    work()
    bob.refresh_from_db()
    assert results == [first]
    assert len(sent) == 1
    assert bob.display_name == "Robert"


def test_silent_notification_is_sent_but_not_kept(alice, work, sent):
    notification = notify(recipient=alice, silent=True, **HELLO)
    work()
    assert [payload["id"] for payload, _ in sent] == [str(notification.pk)]
    assert not Notification.objects.exists()
    assert Delivery.objects.get().status == "delivered"


def test_countdown_holds_a_delivery_back(alice, work, sent, make_due):
    notify(recipient=alice, countdown=3600, **HELLO)
    work()
    assert sent == []
    make_due()
    work()
    assert len(sent) == 1


def test_each_channel_delivers_once_however_often_it_is_named(alice, work, sent):
    notify(recipient=alice, **HELLO | {"channels": ["recording", "recording"]})
    work()
    assert len(sent) == 1


def test_context_goes_to_the_channel_and_not_to_clients(alice, work, sent):
    notification = notify(recipient=alice, context={"room": "x"}, **HELLO)
    work()
    assert sent[0][1] == {"room": "x"}
    assert "room" not in notification_state(notification).model_dump_json()


def test_unknown_channel_is_refused_and_nothing_is_stored(alice):
    with pytest.raises(AttributeError, match="pigeon"):
        notify(recipient=alice, **HELLO | {"channels": ["recording", "pigeon"]})
    assert not Notification.objects.exists()
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ä" * 100, "ä" * 100),
        ("ä\x00" * 101, "ä" * 99 + "…"),
        ("e" + "\u0301" * 200, "e" + "\u0301" * 98 + "…"),
        ("half of \ud83d", "half of ?"),
    ],
    ids=["just fits", "too long", "combining", "surrogate"],
)
def test_description_is_made_to_fit(alice, given, kept):
    notify(recipient=alice, **HELLO | {"short_description": given})
    assert Notification.objects.get().short_description == kept


@pytest.mark.parametrize(
    "longest",
    [
        {"category": "x" * 50},
        {"action": "x" * 50},
        {"url": "http://example.org/" + "x" * 181},
        {"dedupe_key": "x" * 200},
        {"extra_data": {"text": "x" * (services.MAX_EXTRA_DATA - len('{"text": ""}'))}},
    ],
    ids=lambda longest: "-".join(longest),
)
def test_what_just_fits_is_kept_as_it_is(alice, longest):
    notify(recipient=alice, **HELLO | longest)
    [(field, value)] = longest.items()
    assert getattr(Notification.objects.get(), field) == value


@pytest.mark.parametrize(
    "hostile",
    [
        {"short_description": "\x00"},
        {"category": "x" * 51},
        {"action": "x" * 51},
        {"action": "nul\x00"},
        {"url": "javascript:alert(1)"},
        {"url": "//elsewhere.example/"},
        {"url": "/\\elsewhere.example/"},
        {"url": "https://example.org/" + "x" * 181},
        {"dedupe_key": "x" * 201},
        {"extra_data": {"text": "nul\x00"}},
        {"extra_data": {"text": "half of \ud83d"}},
        {"action": "half of \ud83d"},
        {"extra_data": {"number": float("nan")}},
        {"extra_data": {"object": object()}},
        {"extra_data": {"text": "x" * (services.MAX_EXTRA_DATA - len('{"text": ""}') + 1)}},
    ],
    ids=lambda hostile: "-".join(hostile),
)
def test_unacceptable_value_is_refused_without_harm_to_the_callers_transaction(alice, bob, hostile):
    with transaction.atomic():
        with pytest.raises(Invalid):
            notify(recipient=alice, **HELLO | hostile)
        bob.display_name = "Robert"
        bob.save(update_fields=["display_name"])
    bob.refresh_from_db()
    assert bob.display_name == "Robert"
    assert not Notification.objects.exists()
