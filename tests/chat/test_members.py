"""Members over REST: alice owns, bob is a member, charlie is a stranger."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import deactivate_user
from chat.models import Assistant, Conversation, Member
from chat.selectors.rooms import room_state
from chat.services.conversations import create_conversation
from chat.services.members import (
    HAND_OVER_TASK,
    add_member,
    change_member,
    hand_over_rooms,
    remove_member,
)
from chat.services.messages import send_message
from chat.services.mine import mark_read
from chat.services.replies import Outcome, claim_reply, finish_reply
from core.errors import Conflict, Invalid
from notifications.models import Notification

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db


def say(user: User, conversation: Conversation, text: str, **options: Any) -> Any:
    """Say something; return the message and its reply, if it has one."""
    return send_message(
        user=user, conversation_id=conversation.pk, client_id=text, content=text, **options
    )


def add(person: User, conversation: Conversation, by: User) -> Member:
    """Add someone."""
    return add_member(user=by, conversation_id=conversation.pk, person=person.pk)


def leave(person: User, conversation: Conversation) -> Member:
    """Let someone leave by themselves."""
    member = conversation.members.get(user=person)
    return remove_member(user=person, conversation_id=conversation.pk, member_id=member.pk)


def jobs(task: str) -> list[dict[str, Any]]:
    """What jobs of a task wait for, each with its arguments."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT args::text FROM procrastinate_jobs WHERE task_name = %s", [task])
        return [json.loads(row[0]) for row in cursor.fetchall()]


def unread(user: User, conversation: Conversation) -> int:
    """How much someone has not read."""
    return room_state(user.pk, conversation.pk).mine.unread


def test_a_former_owner_is_no_other_owner(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    member = add(charlie, group, by=alice)
    change_member(user=alice, conversation_id=group.pk, member_id=member.pk, role="owner")
    leave(charlie, group)

    with pytest.raises(Conflict):
        leave(alice, group)


def test_an_owner_may_leave_when_everyone_else_has_left(
    alice: User, bob: User, group: Conversation
) -> None:
    leave(bob, group)

    assert leave(alice, group).left_at is not None


def joined_as(role: str, name: str, conversation: Conversation, by: User) -> User:
    """Somebody new with this role."""
    person = User.objects.create_user(name, f"{name}@example.org")
    member = add(person, conversation, by=by)
    change_member(user=by, conversation_id=conversation.pk, member_id=member.pk, role=role)
    return person


def owners(conversation: Conversation) -> set[str]:
    """Who owns a conversation."""
    present = Member.objects.present().filter(conversation=conversation, role="owner")
    return set(present.values_list("user__username", flat=True))


def test_a_last_owner_who_leaves_is_followed_by_the_oldest_admin(
    alice: User, group: Conversation
) -> None:
    joined_as("moderator", "mona", group, by=alice)
    joined_as("admin", "adam", group, by=alice)
    joined_as("admin", "ada", group, by=alice)
    leave(alice, group)
    assert owners(group) == {"adam"}


def test_an_admin_who_is_locked_out_follows_nobody(alice: User, group: Conversation) -> None:
    deactivate_user(user=joined_as("admin", "adam", group, by=alice))
    joined_as("admin", "ada", group, by=alice)
    leave(alice, group)
    assert owners(group) == {"ada"}


def test_one_of_two_owners_leaves_alone(alice: User, bob: User, group: Conversation) -> None:
    joined_as("admin", "adam", group, by=alice)
    member = group.members.get(user=bob)
    change_member(user=alice, conversation_id=group.pk, member_id=member.pk, role="owner")
    leave(alice, group)
    assert owners(group) == {"bob"}


@pytest.mark.parametrize(("role", "heir"), [("admin", "adam"), ("member", "bob"), ("guest", "bob")])
def test_rooms_of_an_owner_who_is_locked_out_get_another(
    alice: User, bob: User, group: Conversation, chat: Conversation, role: str, heir: str
) -> None:
    joined_as(role, "adam", group, by=alice)
    deactivate_user(user=alice)
    (job,) = jobs(HAND_OVER_TASK)
    for _ in range(2):
        hand_over_rooms(user_id=UUID(job["user_id"]))
    assert owners(group) == {"alice", heir}
    assert owners(chat) == {"alice"}


def test_a_room_whose_other_owner_is_locked_out_too_gets_another(
    alice: User, bob: User, group: Conversation
) -> None:
    other = joined_as("owner", "olga", group, by=alice)
    deactivate_user(user=other)
    hand_over_rooms(user_id=other.pk)
    assert owners(group) == {"alice", "olga"}
    deactivate_user(user=alice)
    hand_over_rooms(user_id=alice.pk)
    assert owners(group) == {"alice", "olga", "bob"}


def test_rooms_of_an_owner_who_is_deleted_get_another(
    alice: User, bob: User, group: Conversation
) -> None:
    alice.delete()
    assert owners(group) == {"bob"}


def test_a_member_is_not_added_twice_but_may_come_back(
    alice: User, bob: User, group: Conversation
) -> None:
    with pytest.raises(Conflict):
        add(bob, group, by=alice)

    left = leave(bob, group)
    back = add(bob, group, by=alice)
    assert (back.pk, back.left_at) == (left.pk, None)


def test_nobody_adds_a_deactivated_person(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    deactivate_user(user=charlie)

    answer = api(alice).post(f"/api/conversations/{group.pk}/members/", {"user": str(charlie.pk)})

    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"]["fields"]] == ["user"]
    assert not group.members.filter(user=charlie).exists()


def test_a_former_member_is_neither_changed_nor_removed(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    left = leave(bob, group)
    url = f"/api/conversations/{group.pk}/members/{left.pk}/"

    assert api(alice).patch(url, {"nickname": "Bobby"}).status_code == 404
    assert api(alice).delete(url).status_code == 404
    left.refresh_from_db()
    assert left.nickname == ""
    assert Conversation.objects.get(pk=group.pk).seq == left.seq


def test_a_former_member_is_not_listed_and_lists_nothing(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    leave(bob, group)

    listed = api(alice).get(f"/api/conversations/{group.pk}/members/").json()["results"]
    assert [row["user"]["name"] for row in listed] == ["alice"]
    assert api(bob).get(f"/api/conversations/{group.pk}/members/").status_code == 404
    assert api(bob).get("/api/conversations/").json()["results"] == []


def test_a_former_member_sends_nothing(api: Api, bob: User, group: Conversation) -> None:
    leave(bob, group)

    answer = api(bob).post(
        f"/api/conversations/{group.pk}/messages/", {"client_id": "1", "content": "hello"}
    )

    assert answer.status_code == 404
    assert not group.messages.exists()


def test_a_former_member_is_not_notified_of_the_reply_they_asked_for(
    bob: User, group: Conversation, assistant: Assistant
) -> None:
    group.members.create(assistant=assistant)
    for text in ("here", "gone"):
        reply = say(bob, group, text, assistant="assistant").reply
        claim = claim_reply(message_id=reply.pk, conversation_id=group.pk)
        assert claim is not None
        if text == "gone":
            leave(bob, group)
        finish_reply(
            message_id=reply.pk,
            conversation_id=group.pk,
            attempt=claim.attempt,
            outcome=Outcome(status="complete", content=text),
        )

    replies = Notification.objects.filter(recipient=bob, action="reply.finished")
    assert replies.count() == 1


def test_a_newcomer_has_nothing_unread(alice: User, charlie: User, group: Conversation) -> None:
    say(alice, group, "before")
    add(charlie, group, by=alice)
    assert unread(charlie, group) == 0

    say(alice, group, "since")
    assert unread(charlie, group) == 1


def test_who_comes_back_has_nothing_unread(alice: User, bob: User, group: Conversation) -> None:
    leave(bob, group)
    say(alice, group, "meanwhile")
    add(bob, group, by=alice)

    assert unread(bob, group) == 0


def test_reading_past_the_end_leaves_what_follows_unread(
    alice: User, bob: User, group: Conversation
) -> None:
    end = say(alice, group, "one").message.number
    assert end is not None
    marked = mark_read(user=bob, conversation_id=group.pk, number=end + 1000)
    assert (marked.read, marked.unread) == (end, 0)

    say(alice, group, "two")
    assert unread(bob, group) == 1


@pytest.mark.parametrize(("title", "named"), [("Lunch", "Lunch"), ("", "a conversation")])
def test_who_is_added_is_told_to_what(
    alice: User, charlie: User, group: Conversation, title: str, named: str
) -> None:
    Conversation.objects.filter(pk=group.pk).update(title=title)
    add(charlie, group, alice)
    told = Notification.objects.get(recipient=charlie, action="member.added")
    assert told.short_description == f"{alice.name} added you to {named}"


def test_an_unknown_kind_of_conversation_is_named(alice: User) -> None:
    with pytest.raises(Invalid) as refused:
        create_conversation(user=alice, kind="party")
    assert refused.value.details == {
        "fields": [
            {
                "field": "kind",
                "code": "invalid",
                "message": "There is no such kind of conversation.",
            }
        ]
    }
