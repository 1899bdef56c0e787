"""GET and POST /api/notifications/: everyone's own, nobody else's."""

import asyncio
import base64
import json
from urllib.parse import urlencode

import pytest
from channels.layers import get_channel_layer
from django.db import transaction
from uuid_utils.compat import uuid7

from core.publishing import user_group
from core.threads import in_thread
from notifications import selectors, services
from notifications.models import Notification
from notifications.services import notify
from tests.notifications.worker import DEADLINE

INBOX = "/api/notifications/"


def send(recipient, text="Your answer is here"):
    return notify(
        recipient=recipient,
        category="message",
        action="replied",
        short_description=text,
        channels=[],
    )


def texts(response) -> list[str]:
    return [entry["short_description"] for entry in response.json()["results"]]


def test_everyone_sees_their_own_notifications_only(alice, bob, charlie, api):
    send(alice, "for alice")
    send(bob, "for bob")
    assert texts(api(alice).get(INBOX)) == ["for alice"]
    assert texts(api(bob).get(INBOX)) == ["for bob"]
    assert texts(api(charlie).get(INBOX)) == []
    assert api().get(INBOX).status_code == 401


def test_pages_follow_one_another_newest_first(alice, api):
    for number in range(7):
        send(alice, str(number))
    client = api(alice)
    seen, url = [], f"{INBOX}?limit=3"
    while url:
        page = client.get(url)
        assert len(page.json()["results"]) <= 3
        seen += texts(page)
        url = page.json()["next"]
        # What arrives meanwhile shifts nothing.
        send(alice, "later")
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_unread_can_be_listed_alone_and_counted(alice, bob, api):
    read, unread = send(alice, "read"), send(alice, "unread")
    send(bob)
    client = api(alice)
    assert client.post(f"{INBOX}{read.pk}/read/").json()["is_read"] is True
    assert texts(client.get(INBOX, {"unread": "true"})) == ["unread"]
    assert texts(client.get(INBOX, {"unread": "false"})) == ["unread", "read"]
    assert client.get(f"{INBOX}unread/").json() == {"unread": 1}
    assert client.get(INBOX).json()["results"][0]["id"] == str(unread.pk)


def test_reading_twice_changes_nothing_the_second_time(alice, api):
    notification = send(alice)
    client = api(alice)
    first = client.post(f"{INBOX}{notification.pk}/read/")
    notification.refresh_from_db()
    changed = notification.update_date
    second = client.post(f"{INBOX}{notification.pk}/read/")
    notification.refresh_from_db()
    assert first.json() == second.json()
    assert notification.update_date == changed


@pytest.mark.parametrize("stranger", ["bob", "charlie"])
def test_strangers_notification_does_not_exist(alice, api, request, stranger):
    notification = send(alice)
    client = api(request.getfixturevalue(stranger))
    for response in (
        client.post(f"{INBOX}{notification.pk}/read/"),
        client.post(f"{INBOX}{uuid7()}/read/"),
        client.post(f"{INBOX}read/", {"ids": [str(notification.pk)]}),
    ):
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"
    notification.refresh_from_db()
    assert not notification.is_read


def test_several_are_marked_read_all_or_none(alice, bob, api):
    mine, also_mine, other, bobs = send(alice), send(alice), send(alice), send(bob)
    client = api(alice)
    refused = client.post(f"{INBOX}read/", {"ids": [str(mine.pk), str(bobs.pk)]})
    assert refused.status_code == 404
    assert refused.json()["details"] == {"ids": [str(bobs.pk)]}
    assert selectors.count_unread(alice.pk) == 3

    ids = [str(mine.pk), str(also_mine.pk), str(mine.pk)]
    assert client.post(f"{INBOX}read/", {"ids": ids}).json() == {"read": 2, "unread": 1}
    assert list(Notification.objects.all_unread()) == [bobs, other]


def test_all_are_marked_read_and_only_ones_own(alice, bob, api):
    send(alice), send(alice), send(bob)
    client = api(alice)
    assert client.post(f"{INBOX}read/", {"all": True}).json() == {"read": 2, "unread": 0}
    assert client.post(f"{INBOX}read/", {"all": True}).json() == {"read": 0, "unread": 0}
    assert selectors.count_unread(bob.pk) == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="neither"),
        pytest.param({"all": False}, id="not all"),
        pytest.param({"all": True, "ids": [str(uuid7())]}, id="both"),
        pytest.param({"ids": []}, id="none"),
        pytest.param({"ids": [], "all": True}, id="none and all"),
        pytest.param({"ids": None, "all": True}, id="null and all"),
        pytest.param({"all": None}, id="all is null"),
        pytest.param({"ids": "all"}, id="no list"),
        pytest.param({"ids": ["not-an-id"]}, id="no id"),
        pytest.param({"ids": ["\x00"]}, id="NUL"),
        pytest.param({"ids": [None]}, id="null"),
        pytest.param({"ids": [str(uuid7()) for _ in range(101)]}, id="too many"),
        pytest.param([], id="a list"),
        pytest.param("all", id="a string"),
    ],
)
def test_malformed_request_to_mark_read_is_refused(alice, api, body):
    send(alice)
    response = api(alice).post(f"{INBOX}read/", body)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "details"}
    assert selectors.count_unread(alice.pk) == 1


def test_a_request_to_mark_read_says_nothing_else(alice, api):
    notification = send(alice)
    answer = api(alice).post(f"{INBOX}read/", {"all": True, "surprise": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    notification.refresh_from_db()
    assert not notification.is_read


def cursor(**tokens: str) -> str:
    return base64.b64encode(urlencode(tokens).encode()).decode()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"unread": "maybe"}, 400),
        ({"cursor": "a"}, 404),
        ({"cursor": "ä"}, 404),
        ({"cursor": cursor(p="not-an-id")}, 404),
        ({"cursor": cursor(p="\x00")}, 404),
        ({"cursor": cursor(p="' OR 1=1 --")}, 404),
        ({"cursor": cursor(o="-1")}, 404),
        ({"limit": "-5"}, 400),
        ({"limit": "1e9"}, 400),
        ({"limit": "null"}, 400),
        ({"limit": ""}, 400),
        ({"limit": "0"}, 200),
        ({"limit": "1000000000"}, 200),
    ],
)
def test_hostile_query_has_a_stated_answer(alice, api, query, status):
    send(alice)
    response = api(alice).get(INBOX, query)
    assert response.status_code == status
    if status != 200:
        assert set(response.json()) == {"code", "message", "details"}


def test_page_size_is_bounded(alice, api):
    for _ in range(101):
        send(alice)
    assert len(api(alice).get(INBOX, {"limit": "100000"}).json()["results"]) == 100


def test_list_takes_the_same_few_queries_however_long_it_is(
    alice, api, django_assert_max_num_queries
):
    client = api(alice)
    for _ in range(30):
        notify(
            recipient=alice,
            source=alice,
            obj=alice,
            category="message",
            action="replied",
            short_description="x",
            channels=[],
        )
    with django_assert_max_num_queries(4):
        assert len(texts(client.get(INBOX))) == 30


async def test_other_devices_hear_what_was_read(alice, bob):
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(user_group(alice.pk), channel)
    first, second, _ = [await in_thread(send, alice) for _ in range(3)]

    async def next_frame():
        async with asyncio.timeout(DEADLINE):
            return json.loads((await layer.receive(channel))["frame"])

    await in_thread(services.mark_read, user=alice, notification_id=first.pk)
    frame = await next_frame()
    assert (frame["type"], frame["unread"]) == ("notification.read", 2)
    assert frame["notification"]["id"] == str(first.pk)
    assert frame["notification"]["is_read"] is True

    await in_thread(services.mark_many_read, user=alice, ids=[second.pk])
    assert await next_frame() == {"type": "notification.read", "notification": None, "unread": 1}

    # Nothing changes: nothing is said.
    await in_thread(services.mark_read, user=alice, notification_id=first.pk)
    await in_thread(services.mark_many_read, user=alice, ids=[second.pk])
    await in_thread(services.mark_all_read, user=bob)
    await in_thread(services.mark_all_read, user=alice)
    assert await next_frame() == {"type": "notification.read", "notification": None, "unread": 0}
    await in_thread(services.mark_all_read, user=alice)
    await layer.group_send(user_group(alice.pk), {"type": "end", "frame": '"end"'})
    assert await next_frame() == "end"
    await layer.close()


@pytest.mark.django_db(transaction=True)
def test_what_was_read_is_read_though_nobody_can_be_told(alice, monkeypatch):
    def away(*_):
        raise OSError("the layer is away")

    monkeypatch.setattr("notifications.services.inbox.publish_now", away)
    notification = send(alice)
    assert services.mark_read(user=alice, notification_id=notification.pk).is_read
    assert selectors.count_unread(alice.pk) == 0


async def test_reading_that_is_rolled_back_is_not_published(alice):
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(user_group(alice.pk), channel)

    def read_and_regret():
        with transaction.atomic():
            services.mark_all_read(user=alice)
            transaction.set_rollback(True)

    await in_thread(send, alice)
    await in_thread(read_and_regret)
    await layer.group_send(user_group(alice.pk), {"type": "end"})
    async with asyncio.timeout(DEADLINE):
        assert await layer.receive(channel) == {"type": "end"}
    assert await in_thread(selectors.count_unread, alice.pk) == 1
    await layer.close()
