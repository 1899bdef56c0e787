"""Blocking: alice wants nothing from bob, who is not told; charlie has no part in it."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Conversation, Group, Mention
from chat.selectors.rooms import person_changes
from chat.services import blocks
from chat.services.blocks import block
from chat.services.conversations import change_conversation, create_conversation, open_direct
from chat.services.joining import request_to_join
from chat.services.members import add_member
from chat.services.messages import send_message
from core import publishing
from core.errors import Conflict, Invalid
from core.publishing import Publication, user_group
from notifications.models import Notification

Api = Callable[..., APIClient]
KIND = "block.updated"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Publication]:
    """What is published of blocks."""
    published: list[Publication] = []
    monkeypatch.setattr(
        publishing,
        "publish_now",
        lambda *new: published.extend(one for one in new if one.message.get("kind") == KIND),
    )
    return published


def test_a_block_is_told_to_ones_own_devices_alone(
    api: Api, alice: User, bob: User, told: list[Publication]
) -> None:
    answer = api(alice).put(f"/api/me/blocks/{bob.pk}/")
    assert answer.json() == {"blocks": [str(bob.pk)]}
    assert [one.group for one in told] == [user_group(alice.pk)]
    assert [row["name"] for row in api(alice).get("/api/me/blocks/").json()["results"]] == ["bob"]
    assert api(alice).delete(f"/api/me/blocks/{bob.pk}/").json() == {"blocks": []}


def test_blocking_twice_is_blocking_once(alice: User, bob: User, told: list[Publication]) -> None:
    for _ in range(2):
        assert block(user=alice, person=bob.pk, on=True) == [bob.pk]
    assert len(told) == 1
    assert person_changes(user=alice).seq == 1


def test_a_list_says_whom_one_blocks_when_that_changed(alice: User, bob: User) -> None:
    first = person_changes(user=alice)
    block(user=alice, person=bob.pk, on=True)
    second = person_changes(user=alice, since=first.seq, at=first.at)
    third = person_changes(user=alice, since=second.seq, at=second.at)
    block(user=alice, person=bob.pk, on=False)
    fourth = person_changes(user=alice, since=third.seq, at=third.at)
    assert [one.blocks for one in (first, second, third, fourth)] == [[], [bob.pk], None, []]
    assert person_changes(user=bob).blocks == []


def test_nobody_blocks_themselves_or_nobody_or_everybody(
    alice: User, bob: User, charlie: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (alice.pk, Conversation().pk):
        with pytest.raises(Invalid):
            block(user=alice, person=person, on=True)
    monkeypatch.setattr(blocks, "MAX_BLOCKS", 1)
    block(user=alice, person=bob.pk, on=True)
    with pytest.raises(Conflict):
        block(user=alice, person=charlie.pk, on=True)


def bring_in(bob: User, alice: User, room: Conversation) -> list[Callable[[], Any]]:
    """The ways in which bob can bring alice into something."""
    return [
        lambda: open_direct(user=bob, people=[alice.pk]),
        lambda: create_conversation(user=bob, kind="group", members=[alice.pk]),
        lambda: add_member(user=bob, conversation_id=room.pk, person=alice.pk),
    ]


@pytest.mark.parametrize("way", range(3))
def test_who_is_blocked_is_told_that_there_is_no_such_person(
    alice: User, bob: User, charlie: User, way: int
) -> None:
    room = create_conversation(user=bob, kind="group")
    block(user=alice, person=bob.pk, on=True)
    with pytest.raises(Invalid) as refused:
        bring_in(bob, alice, room)[way]()
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    with pytest.raises(Invalid) as unknown:
        bring_in(bob, charlie, room)[way]()
    assert refused.value.as_dict() == unknown.value.as_dict()
    block(user=alice, person=bob.pk, on=False)
    bring_in(bob, alice, room)[way]()


def test_who_blocks_somebody_does_not_write_to_them_either(alice: User, bob: User) -> None:
    block(user=alice, person=bob.pk, on=True)
    with pytest.raises(Conflict):
        open_direct(user=alice, people=[bob.pk])


def test_nobody_is_notified_of_what_those_do_whom_they_block(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, access="listed")
    block(user=alice, person=charlie.pk, on=True)
    request_to_join(user=charlie, conversation_id=group.pk)
    assert not Notification.objects.filter(recipient=alice).exists()


def test_nobody_is_named_by_those_whom_they_block(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    cooks = Group.objects.create(slug="cooks", name="Cooks")
    cooks.people.set([alice, charlie])
    block(user=alice, person=bob.pk, on=True)
    for client_id, content in enumerate(["@alice and @charlie", "@cooks"]):
        sent = send_message(
            user=bob, conversation_id=group.pk, client_id=str(client_id), content=content
        )
        # It is not told: the text names her as ever.
        assert len(sent.message.mentions) == content.count("@")
    assert set(Mention.objects.values_list("user", flat=True)) == {charlie.pk}


def test_they_still_talk_in_the_rooms_they_share(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    block(user=alice, person=bob.pk, on=True)
    send_message(user=bob, conversation_id=group.pk, client_id="1", content="hello")
    said = api(alice).get(f"/api/conversations/{group.pk}/messages/").json()["results"]
    assert [row["content"] for row in said] == ["hello"]
