"""Assistants in rooms: who is asked, what each hears and reads, and how far that goes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from chat.change import changing
from chat.errors import RepliesUsedUp
from chat.models import Assistant, Conversation, Member, Message
from chat.replies.past import past_messages
from chat.services.conversations import change_conversation
from chat.services.members import new_member
from chat.services.messages import delete_message, edit_message, send_message
from chat.services.replies import MAX_WAITING_REPLIES, Outcome, claim_reply, finish_reply
from chat.services.reply_actions import regenerate, request_stop
from core.errors import Conflict, Invalid, NotAllowed

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[..., APIClient]


@pytest.fixture
def ada(db: None) -> Assistant:
    """An assistant."""
    return Assistant.objects.create(slug="ada", name="Ada")


@pytest.fixture
def max_(db: None) -> Assistant:
    """Another."""
    return Assistant.objects.create(slug="max", name="Max")


@pytest.fixture
def room(group: Conversation, ada: Assistant, max_: Assistant) -> Conversation:
    """Alice's and bob's group, with both assistants."""
    with changing(group.pk) as change:
        new_member(change=change, assistant=ada)
        new_member(change=change, assistant=max_)
    return group


def say(user: User, room: Conversation, content: str, **options: Any) -> Message:
    options = {"client_id": uuid4().hex, **options}
    return send_message(user=user, conversation_id=room.pk, content=content, **options).message


def asked(message: Message) -> list[str]:
    """Who replies to a message, in which order."""
    replies = Message.objects.filter(parent=message, role="assistant").order_by("created_seq")
    return [reply.author_assistant.slug for reply in replies if reply.author_assistant]


def reply_of(message: Message, assistant: Assistant) -> Message:
    return Message.objects.get(parent=message, author_assistant=assistant)


def finish(reply: Message, content: str = "said", status: str = "complete") -> Message:
    claim = claim_reply(message_id=reply.pk, conversation_id=reply.conversation_id)
    assert claim is not None
    outcome = Outcome(status=status, content=content)
    assert finish_reply(
        message_id=reply.pk,
        conversation_id=reply.conversation_id,
        attempt=claim.attempt,
        outcome=outcome,
    )
    reply.refresh_from_db()
    return reply


def told(reply: Message) -> list[str]:
    """What the assistant of a reply is told of, the oldest first."""
    return [one.content for one in past_messages(reply, reply.conversation)][::-1]


def let(member: Assistant, room: Conversation, **values: str) -> None:
    Member.objects.filter(conversation=room, assistant=member).update(**values)


# --- Who is asked ------------------------------------------------------------------------------


def test_those_named_reply_in_the_order_they_are_named_each_once(
    alice: User, room: Conversation
) -> None:
    assert asked(say(alice, room, "@max and @Ada and @max?")) == ["max", "ada"]
    assert asked(say(alice, room, "@max?", assistant="ada")) == ["max", "ada"]
    assert asked(say(alice, room, "@ada?", assistant="ada")) == ["ada"]
    assert asked(say(alice, room, "`@ada`, Ada")) == []


def test_a_message_sent_twice_asks_once(alice: User, room: Conversation) -> None:
    for _ in range(2):
        message = say(alice, room, "@ada @max", client_id="once")
    assert asked(message) == ["ada", "max"]


def test_whoever_answers_a_reply_asks_its_assistant_unless_they_name_another(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    reply = finish(reply_of(say(alice, room, "@ada"), ada))
    assert asked(say(alice, room, "why?", parent=reply.pk)) == ["ada"]
    assert asked(say(alice, room, "and @max?", parent=reply.pk)) == ["max"]
    delete_message(user=alice, message_id=reply.pk)
    assert asked(say(alice, room, "why?", parent=reply.pk)) == []


def test_one_that_left_or_is_switched_off_is_not_asked(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    reply = finish(reply_of(say(alice, room, "@ada"), ada))
    Member.objects.filter(conversation=room, assistant=ada).update(left_at=timezone.now())
    Assistant.objects.filter(pk=max_.pk).update(is_active=False)
    assert asked(say(alice, room, "@ada @max", parent=reply.pk)) == []


def test_who_may_ask_nobody_is_refused_if_they_name_one_and_else_is_heard_by_none(
    bob: User, alice: User, room: Conversation, ada: Assistant
) -> None:
    reply = finish(reply_of(say(alice, room, "@ada"), ada))
    Member.objects.filter(conversation=room, user=bob).update(role="guest")
    with pytest.raises(NotAllowed) as refused:
        say(bob, room, "@ada")
    assert refused.value.details == {"action": "ask", "needs": "member"}
    let(ada, room, hears="all")
    assert asked(say(bob, room, "hm", parent=reply.pk)) == []


def test_an_edit_asks_nobody(alice: User, room: Conversation) -> None:
    message = say(alice, room, "hello")
    edit_message(user=alice, message_id=message.pk, client_id="2", content="@ada")
    assert asked(message) == []


# --- What they hear ----------------------------------------------------------------------------


def test_one_that_hears_everything_replies_to_everything_and_once(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    let(max_, room, hears="all")
    assert asked(say(alice, room, "hello")) == ["max"]
    assert asked(say(alice, room, "@ada @max")) == ["ada", "max"]
    assert asked(say(alice, room, "@ada")) == ["ada", "max"]


def test_one_that_hears_threads_replies_where_it_has_spoken(
    alice: User, room: Conversation, ada: Assistant
) -> None:
    let(ada, room, hears="thread")
    thread = Conversation.objects.create(kind="thread", parent=room, access_id=room.pk)
    assert asked(say(alice, thread, "hello")) == []
    finish(reply_of(say(alice, thread, "@ada"), ada))
    assert asked(say(alice, thread, "so?")) == ["ada"]
    finish(reply_of(say(alice, room, "@ada"), ada))
    assert asked(say(alice, room, "hello")) == []


def test_what_is_said_goes_through_though_too_many_replies_wait(
    alice: User, room: Conversation, max_: Assistant
) -> None:
    let(max_, room, hears="all")
    messages = [say(alice, room, "hello") for _ in range(MAX_WAITING_REPLIES + 1)]
    assert [asked(one) for one in messages[-2:]] == [["max"], []]
    with pytest.raises(Conflict):
        say(alice, room, "@ada")


def test_a_plain_message_costs_no_statement_for_them(alice: User, room: Conversation) -> None:
    with CaptureQueriesContext(connection) as captured:
        say(alice, room, "hello")
    # BEGIN, the lock, what decides; message, conversation, the author's mark; COMMIT; the notice.
    assert len(captured) <= 8


# --- What they read ----------------------------------------------------------------------------


def test_each_is_told_what_the_last_one_said(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    message = say(alice, room, "@ada @max")
    finish(reply_of(message, ada), "ada's")
    say(alice, room, "later")
    assert told(reply_of(message, max_)) == ["@ada @max", "ada's"]
    assert told(reply_of(message, ada)) == ["@ada @max"]
    again = regenerate(user=alice, message_id=reply_of(message, ada).pk)
    finish(reply_of(message, max_), "max's")
    assert told(again) == ["@ada @max", "max's"]


def test_of_replies_by_several_to_one_message_all_are_told(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    message = say(alice, room, "@ada @max")
    for assistant in (ada, max_):
        finish(reply_of(message, assistant), f"{assistant.slug}'s")
    again = finish(regenerate(user=alice, message_id=reply_of(message, ada).pk), "ada's second")
    assert again.parent == message
    assert told(reply_of(say(alice, room, "@max?"), max_)) == [
        "@ada @max",
        "max's",
        "ada's second",
        "@max?",
    ]


def test_one_reads_the_room_since_it_joined(
    alice: User, group: Conversation, ada: Assistant
) -> None:
    say(alice, group, "before")
    with changing(group.pk) as change:
        new_member(change=change, assistant=ada)
    say(alice, group, "after")
    assert told(reply_of(say(alice, group, "@ada"), ada)) == ["after", "@ada"]


def test_one_that_reads_threads_is_told_what_it_is_asked_and_what_that_answers(
    alice: User, bob: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    let(ada, room, reads="thread")
    first = say(bob, room, "a question")
    say(bob, room, "aside")
    message = say(alice, room, "@max @ada that?", parent=first.pk)
    finish(reply_of(message, max_), "max's")
    assert told(reply_of(message, ada)) == ["a question", "@max @ada that?", "max's"]


@pytest.mark.parametrize("reads", ["thread", "room"])
def test_in_a_thread_it_is_told_all_of_it_and_the_message_it_hangs_on(
    alice: User, room: Conversation, ada: Assistant, reads: str
) -> None:
    let(ada, room, reads=reads)
    root = say(alice, room, "root")
    say(alice, room, "aside")
    thread = Conversation.objects.create(kind="thread", parent=room, access_id=room.pk, root=root)
    say(alice, thread, "one")
    assert told(reply_of(say(alice, thread, "@ada"), ada)) == ["root", "one", "@ada"]


# --- How far it goes ---------------------------------------------------------------------------


def test_a_reply_that_names_another_asks_it_up_to_a_depth(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    first = finish(reply_of(say(alice, room, "@ada"), ada), "what says @max, or @ada?")
    assert asked(first) == ["max"]
    second = finish(reply_of(first, max_), "@ada!")
    assert asked(second) == ["ada"]
    third = finish(reply_of(second, ada), "@max!")
    assert asked(third) == []
    assert told(reply_of(second, ada))[-2:] == ["what says @max, or @ada?", "@ada!"]


@pytest.mark.parametrize("status", ["cancelled", "failed", "interrupted"])
def test_a_reply_that_did_not_end_well_asks_nobody(
    alice: User, room: Conversation, ada: Assistant, status: str
) -> None:
    assert asked(finish(reply_of(say(alice, room, "@ada"), ada), "@max", status)) == []


def test_a_reply_asks_nobody_where_eight_wait_already(
    alice: User, room: Conversation, ada: Assistant
) -> None:
    first = reply_of(say(alice, room, "@ada"), ada)
    for _ in range(MAX_WAITING_REPLIES - 1):
        say(alice, room, "@ada")
    say_more = finish(first, "@max")
    assert asked(say_more) == ["max"]
    second = Message.objects.active().order_by("created_seq").first()
    assert second is not None
    say(alice, room, "hello")
    assert asked(finish(second, "@max " * 60)) == []


def test_those_named_stand_in_line_and_stopping_one_leaves_the_next(
    alice: User, bob: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    message = say(alice, room, "@ada @max")
    request_stop(user=bob, message_id=reply_of(message, ada).pk)
    assert finish(reply_of(message, max_)).status == "complete"
    assert reply_of(message, ada).status == "cancelled"
    # The other's is still being made, but it is not the same reply.
    message = say(alice, room, "@ada @max")
    finish(reply_of(message, ada))
    again = regenerate(user=bob, message_id=reply_of(message, ada).pk)
    assert again.author_assistant == ada


def test_a_policy_bounds_the_replies_of_a_day(
    alice: User, room: Conversation, ada: Assistant, max_: Assistant
) -> None:
    let(max_, room, hears="all")
    change_conversation(user=alice, conversation_id=room.pk, policy={"replies": 3})
    assert asked(say(alice, room, "hello")) == ["max"]
    thread = Conversation.objects.create(kind="thread", parent=room, access_id=room.pk)
    assert asked(say(alice, thread, "@ada")) == ["ada", "max"]
    # Whoever asks is told; what is only said goes through.
    with pytest.raises(RepliesUsedUp) as refused:
        say(alice, room, "@ada")
    assert refused.value.as_dict()["details"] == {"most": 3}
    assert asked(say(alice, room, "hello")) == []
    Conversation.objects.filter(pk=room.pk).update(
        reply_day=timezone.now().date() - timedelta(days=1)
    )
    assert asked(say(alice, room, "@ada")) == ["ada", "max"]


def test_a_message_that_is_refused_uses_up_no_reply(alice: User, room: Conversation) -> None:
    change_conversation(user=alice, conversation_id=room.pk, policy={"replies": 1})
    with pytest.raises(RepliesUsedUp):
        say(alice, room, "@ada @max")
    assert asked(say(alice, room, "@ada")) == ["ada"]


@pytest.mark.parametrize("policy", [{"replies": "owner"}, {"send": 3}, {"what": 3}])
def test_a_policy_has_roles_and_one_number(
    alice: User, room: Conversation, policy: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        change_conversation(user=alice, conversation_id=room.pk, policy=policy)


# --- In the room -------------------------------------------------------------------------------


def test_the_room_shows_and_its_managers_say_what_an_assistant_hears_and_reads(
    api: Api, alice: User, bob: User, charlie: User, room: Conversation, ada: Assistant
) -> None:
    member = room.members.get(assistant=ada)
    url = f"/api/conversations/{room.pk}/members/{member.pk}/"
    change = {"hears": "all", "reads": "thread"}
    assert api(charlie).patch(url, change).status_code == 404
    assert api(bob).patch(url, change).status_code == 403
    answer = api(alice).patch(url, change).json()
    assert (answer["hears"], answer["reads"]) == ("all", "thread")
    listed = api(bob).get(f"/api/conversations/{room.pk}/members/").json()["results"]
    shown = {(one["assistant"] or one["user"])["name"]: one["hears"] for one in listed}
    assert shown == {"alice": None, "bob": None, "Ada": "all", "Max": "mentions"}
    assert api(alice).patch(url, {"hears": "whispers"}).status_code == 400
    own = room.members.get(user=bob)
    url = f"/api/conversations/{room.pk}/members/{own.pk}/"
    assert api(alice).patch(url, change).status_code == 400


def test_its_managers_bring_assistants_into_a_room(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, ada: Assistant
) -> None:
    url = f"/api/conversations/{group.pk}/members/"
    assert api(charlie).post(url, {"assistant": "ada"}).status_code == 404
    assert api(bob).post(url, {"assistant": "ada"}).status_code == 403
    answer = api(alice).post(url, {"assistant": "ada"})
    assert (answer.status_code, answer.json()["hears"]) == (201, "mentions")
    assert api(alice).post(url, {"assistant": "ada"}).status_code == 409
    assert api(alice).post(url, {"assistant": "nobody"}).status_code == 400
    assert api(alice).post(url, {}).status_code == 400
    both = {"assistant": "ada", "user": str(charlie.pk)}
    assert api(alice).post(url, both).status_code == 400
