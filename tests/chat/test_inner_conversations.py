"""Topics and threads have no members: who is in their room may read and write in them."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Assistant, Conversation, Member, ReadState
from chat.selectors.conversations import followable, readable_after, require_member
from chat.selectors.rooms import conversations_of, room_state
from chat.selectors.sync import changes_since
from chat.services.conversations import archive_conversation, change_conversation
from chat.services.members import remove_member
from chat.services.messages import send_message
from chat.services.reply_actions import regenerate
from core.errors import NotAllowed, NotFound

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def inner(group: Conversation) -> Conversation:
    """A conversation inside of alice's and bob's group."""
    return Conversation.objects.create(
        kind="thread", title="Inside", parent=group, access_id=group.pk
    )


def say(user: User, room: Conversation, text: str = "hello", **options: Any) -> Any:
    """Say something; return what came of it."""
    return send_message(user=user, conversation_id=room.pk, client_id=text, content=text, **options)


def leave(user: User, room: Conversation) -> None:
    """End a membership."""
    member = Member.objects.get(conversation=room, user=user)
    remove_member(user=user, conversation_id=room.pk, member_id=member.pk)


def test_members_of_the_room_read_and_write_in_it_and_nobody_else(
    api: Api, alice: User, bob: User, charlie: User, inner: Conversation
) -> None:
    path = f"/api/conversations/{inner.pk}/"
    said = {"client_id": "1", "content": "hello"}
    message = api(alice).post(f"{path}messages/", said).json()["message"]["id"]
    for address in (path, f"{path}messages/", f"{path}changes/", f"/api/messages/{message}/"):
        assert api(bob).get(address).status_code == 200, address
        assert api(charlie).get(address).status_code == 404, address
    emoji = f"/api/messages/{message}/reactions/👍/"
    assert api(bob).put(emoji).status_code == 200
    assert api(charlie).put(emoji).status_code == 404
    assert api(charlie).post(f"{path}messages/", said).status_code == 404
    assert api(bob).get(f"{path}members/").json()["results"][0]["user"]["name"] == "alice"
    assert api(charlie).get(f"{path}members/").status_code == 404


def test_who_left_the_room_reads_nothing_inside_of_it(
    bob: User, group: Conversation, inner: Conversation
) -> None:
    message = say(bob, inner).message
    assert inner.pk.hex in conversations_of([bob.pk])[bob.pk][1]
    leave(bob, group)
    for read in (
        lambda: require_member(bob.pk, inner.pk),
        lambda: readable_after(bob.pk, inner.pk),
        lambda: room_state(bob.pk, inner.pk),
        lambda: changes_since(user=bob, conversation_id=inner.pk, since=None),
        lambda: changes_since(user=bob, conversation_id=inner.pk, since=message.seq),
        lambda: say(bob, inner, "again"),
    ):
        with pytest.raises(NotFound):
            read()
    assert conversations_of([bob.pk])[bob.pk][1] == []
    assert followable(bob.pk, bob.pk, [inner.pk, group.pk])[1] == set()
    assert ReadState.objects.get(conversation=inner, user=bob).gone


def test_those_in_the_room_may_still_follow_it_after_a_gap(
    bob: User, group: Conversation, inner: Conversation
) -> None:
    assert followable(bob.pk, bob.pk, [inner.pk, group.pk])[1] == {inner.pk, group.pk}


def test_a_deleted_one_is_there_for_nobody(alice: User, inner: Conversation) -> None:
    Conversation.objects.filter(pk=inner.pk).update(deleted_at="2026-01-01T00:00Z")
    for read in (
        lambda: require_member(alice.pk, inner.pk),
        lambda: readable_after(alice.pk, inner.pk),
        lambda: room_state(alice.pk, inner.pk),
        lambda: changes_since(user=alice, conversation_id=inner.pk, since=None),
    ):
        with pytest.raises(NotFound):
            read()
    assert followable(alice.pk, alice.pk, [inner.pk])[1] == set()


def test_who_writes_in_it_follows_it_and_who_only_reads_has_nothing_unread(
    alice: User, bob: User, inner: Conversation
) -> None:
    say(alice, inner, "first")
    mine = room_state(alice.pk, inner.pk).mine
    assert (mine.seq > 0, mine.read, mine.unread) == (True, 1, 0)
    mine = room_state(bob.pk, inner.pk).mine
    assert (mine.seq, mine.read, mine.unread) == (0, 1, 0)
    say(bob, inner, "second")
    assert room_state(alice.pk, inner.pk).mine.unread == 1
    assert ReadState.objects.filter(conversation=inner).count() == 2


def test_who_follows_nothing_of_it_has_nothing_to_mark(
    api: Api, alice: User, bob: User, charlie: User, inner: Conversation
) -> None:
    say(alice, inner)
    mark = f"/api/conversations/{inner.pk}/read/"
    assert api(bob).post(mark, {"number": 1}).json()["mine"]["unread"] == 0
    assert api(charlie).post(mark, {"number": 1}).status_code == 404
    assert ReadState.objects.filter(conversation=inner, user=bob).count() == 0


def test_the_policy_of_the_room_holds_inside(
    alice: User, bob: User, group: Conversation, inner: Conversation
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, policy={"send": "moderator"})
    with pytest.raises(NotAllowed):
        say(bob, inner)
    assert say(alice, inner).created


def test_an_archived_room_is_archived_inside(
    api: Api, alice: User, group: Conversation, inner: Conversation
) -> None:
    archive_conversation(user=alice, conversation_id=group.pk)
    said = {"client_id": "1", "content": "hello"}
    answer = api(alice).post(f"/api/conversations/{inner.pk}/messages/", said)
    assert (answer.status_code, answer.json()["code"]) == (409, "read_only")


def test_what_newcomers_read_of_the_room_does_not_count_inside(
    alice: User, bob: User, group: Conversation, inner: Conversation
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    Member.objects.filter(user=bob).update(joined_seq=1000)
    message = say(alice, inner).message
    assert readable_after(bob.pk, inner.pk) == 0
    changes = changes_since(user=bob, conversation_id=inner.pk, since=None)
    assert [one.id for one in changes.messages] == [message.pk]
    assert say(bob, inner, "answer", parent=message.pk).created


def test_nobody_is_added_to_or_removed_from_it(
    api: Api, alice: User, bob: User, charlie: User, inner: Conversation
) -> None:
    path = f"/api/conversations/{inner.pk}/"
    assert api(alice).post(f"{path}members/", {"user": str(charlie.pk)}).status_code == 400
    assert api(alice).post(f"{path}invitations/", {}).status_code == 400
    assert api(alice).patch(path, {"access": "open"}).status_code == 400
    member = Member.objects.get(user=bob)
    assert api(alice).delete(f"{path}members/{member.pk}/").status_code == 404
    assert api(charlie).post(f"{path}join/").status_code == 404


def test_an_assistant_of_the_room_is_asked_inside(
    alice: User, group: Conversation, inner: Conversation, assistant: Assistant
) -> None:
    Member.objects.create(conversation=group, assistant=assistant)
    reply = say(alice, inner, assistant="assistant").reply
    assert reply is not None
    assert reply.conversation_id == inner.pk
    assert regenerate(user=alice, message_id=reply.pk) == reply


@pytest.mark.parametrize("kind", ["discussion", "thread", "direct"])
def test_none_is_opened_by_itself(api: Api, alice: User, kind: str) -> None:
    assert api(alice).post("/api/conversations/", {"kind": kind}).status_code == 400


def test_who_is_named_in_a_thread_follows_it_from_there(
    alice: User, bob: User, group: Conversation
) -> None:
    thread = Conversation.objects.create(kind="thread", parent=group, access_id=group.pk)
    for content in ("hello", "@bob", "and @charlie"):
        named = send_message(
            user=alice, conversation_id=thread.pk, client_id=content, content=content
        ).message
    assert named.mentions == []
    mine = room_state(bob.pk, thread.pk).mine
    assert (mine.read, mine.unread, mine.named) == (1, 2, [2])
