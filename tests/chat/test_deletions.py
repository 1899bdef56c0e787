"""Deleting messages: who may, what is left, and what becomes of replies that are being made."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Conversation, Member, Message, ReplyChunk
from chat.selectors.rooms import room_state
from chat.selectors.sync import changes_since
from chat.services.messages import delete_message, edit_message, send_message
from chat.services.replies import Outcome, claim_reply, finish_reply
from chat.services.reply_actions import continue_reply, regenerate
from core.errors import Conflict, NotAllowed, NotFound

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db


def say(user: User, conversation: Conversation, content: str = "a secret") -> Message:
    """Store a message of that person's."""
    sent = send_message(
        user=user, conversation_id=conversation.pk, client_id=UUID(int=0).hex, content=content
    )
    return sent.message


def streaming(user: User, conversation: Conversation) -> tuple[Message, int]:
    """A reply that is being written, and its attempt."""
    say(user, conversation)
    reply = Message.objects.get(role="assistant")
    claim = claim_reply(message_id=reply.pk, conversation_id=conversation.pk)
    assert claim is not None
    ReplyChunk.objects.create(message_id=reply.pk, attempt=claim.attempt, index=0, text="So far")
    return reply, claim.attempt


def delete(client: APIClient, message: Message) -> tuple[int, Any]:
    """Delete over REST; the answer's status and body."""
    answered = client.delete(f"/api/messages/{message.pk}/")
    return answered.status_code, answered.json()


@pytest.mark.django_db(transaction=True)
def test_an_author_deletes_and_only_the_place_is_left(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    message = say(bob, group)
    status, body = delete(api(bob), message)
    assert status == 200
    assert body["message"]["deleted_at"] is not None
    assert (body["message"]["content"], body["message"]["seq"]) == ("", message.seq + 1)
    assert body["message"]["created_seq"] == message.created_seq
    # Gone for good, not merely hidden.
    assert Message.objects.get(pk=message.pk).content == ""
    (row,) = changes_since(user=alice, conversation_id=group.pk, since=message.seq).messages
    assert (row.id, row.content) == (message.pk, "")


@pytest.mark.parametrize("role", [Member.Role.OWNER, Member.Role.ADMIN])
def test_a_manager_deletes_what_others_said(
    alice: User, bob: User, group: Conversation, role: str
) -> None:
    message = say(bob, group)
    Member.objects.filter(user=alice).update(role=role)
    assert delete_message(user=alice, message_id=message.pk).deleted_at is not None


def test_a_member_deletes_nothing_of_others(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    message = say(alice, group)
    status, body = delete(api(bob), message)
    assert (status, body["code"]) == (403, "not_allowed")
    assert Message.objects.get(pk=message.pk).content == "a secret"


def test_a_stranger_finds_nothing_to_delete(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    message = say(alice, group)
    status, body = delete(api(charlie), message)
    assert (status, body["code"]) == (404, "not_found")
    with pytest.raises(NotFound):
        delete_message(user=charlie, message_id=message.pk)


def test_who_has_left_deletes_nothing(bob: User, group: Conversation) -> None:
    message = say(bob, group)
    Member.objects.filter(user=bob).update(left_at=message.created_at)
    with pytest.raises(NotFound):
        delete_message(user=bob, message_id=message.pk)


def test_deleting_again_changes_nothing(bob: User, group: Conversation) -> None:
    message = say(bob, group)
    first = delete_message(user=bob, message_id=message.pk)
    again = delete_message(user=bob, message_id=message.pk)
    assert (again.seq, again.deleted_at) == (first.seq, first.deleted_at)


def test_a_deleted_message_is_neither_unread_nor_reworded(
    alice: User, bob: User, group: Conversation
) -> None:
    message = say(bob, group)
    assert room_state(alice.pk, group.pk).mine.unread == 1
    delete_message(user=bob, message_id=message.pk)
    assert room_state(alice.pk, group.pk).mine.unread == 0
    with pytest.raises(Conflict):
        edit_message(user=bob, message_id=message.pk, client_id="2", content="again")


def test_replies_that_wait_for_a_deleted_message_are_cancelled(
    alice: User, chat: Conversation
) -> None:
    message = say(alice, chat)
    delete_message(user=alice, message_id=message.pk)
    assert Message.objects.get(role="assistant").status == "cancelled"


def test_a_reply_to_a_deleted_message_is_to_stop(alice: User, chat: Conversation) -> None:
    reply, _ = streaming(alice, chat)
    assert reply.parent_id is not None
    delete_message(user=alice, message_id=reply.parent_id)
    reply.refresh_from_db()
    assert (reply.status, reply.stop_requested_at is not None) == ("streaming", True)


def test_a_reply_deleted_while_it_streams_ends_and_its_text_comes_too_late(
    alice: User, chat: Conversation
) -> None:
    reply, attempt = streaming(alice, chat)
    deleted = delete_message(user=alice, message_id=reply.pk)
    assert deleted.status == "cancelled"
    assert not ReplyChunk.objects.filter(message_id=reply.pk).exists()
    ended = Outcome(status="complete", content="All that it said", finish_reason="stop")
    done = {"message_id": reply.pk, "conversation_id": chat.pk, "attempt": attempt}
    assert not finish_reply(**done, outcome=ended)
    assert claim_reply(message_id=reply.pk, conversation_id=chat.pk) is None
    reply.refresh_from_db()
    assert (reply.status, reply.content) == ("cancelled", "")


def test_a_deleted_reply_is_neither_made_again_nor_continued(
    alice: User, chat: Conversation
) -> None:
    reply, _ = streaming(alice, chat)
    delete_message(user=alice, message_id=reply.pk)
    for act in (regenerate, continue_reply):
        with pytest.raises(Conflict):
            act(user=alice, message_id=reply.pk)


def test_a_plain_member_may_not_delete_a_reply(alice: User, bob: User, group: Conversation) -> None:
    reply = Message.objects.create(
        conversation=group, role="assistant", content="x", created_seq=1, seq=1
    )
    with pytest.raises(NotAllowed):
        delete_message(user=bob, message_id=reply.pk)
    assert delete_message(user=alice, message_id=reply.pk).content == ""
