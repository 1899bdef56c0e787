"""One's own list: what a client that was away lacks, told by one statement."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.errors import SessionRevoked
from accounts.models import Session, User
from accounts.tokens import Claims
from chat.models import Assistant, Conversation, Feed, Member, Message, ReadState
from chat.selectors import rooms
from chat.selectors.rooms import Greeting, conversations_of, greetings, person_changes, room_state
from chat.services.conversations import (
    change_conversation,
    create_conversation,
    delete_conversation,
)
from chat.services.members import add_member, remove_member
from chat.services.messages import delete_message, send_message
from chat.services.mine import change_mine, mark_read
from chat.services.purge import forget_deleted, purge_some
from core.errors import Invalid, NotFound
from protocol.states import PersonChanges

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[..., APIClient]


def say(user: User, conversation: Conversation, content: str = "hello") -> Message:
    return send_message(
        user=user, conversation_id=conversation.pk, client_id=uuid4().hex, content=content
    ).message


def news(user: User, known: PersonChanges) -> PersonChanges:
    """What a client asks for that had this answer."""
    return person_changes(user=user, since=known.seq, at=known.at)


def titles(changes: PersonChanges) -> list[str]:
    return [room.title for room in changes.rooms]


def new_group(user: User, title: str, *others: User) -> Conversation:
    return create_conversation(
        user=user, kind="group", title=title, members=[other.pk for other in others]
    )


# --- A first load ----------------------------------------------------------------------------


def test_a_first_load_is_all_that_an_application_begins_with(
    alice: User, bob: User, group: Conversation, assistant: Assistant
) -> None:
    say(bob, group, "Pizza?")
    answer = person_changes(user=alice)
    assert (answer.since, answer.reset, answer.complete, answer.cursor) == (None, False, True, None)
    assert answer.user.id == alice.pk
    assert [one.slug for one in answer.assistants] == [assistant.slug]
    (room,) = answer.rooms
    assert (room.id, room.title, room.role) == (group.pk, "Lunch", "owner")
    assert (room.preview, room.people, room.number) == ("Pizza?", 2, 1)
    assert (room.mine.read, room.mine.unread, room.mine.level) == (0, 1, "all")
    assert answer.unread_rooms == 1


def test_the_same_comes_by_rest(api: Api, alice: User, group: Conversation) -> None:
    answer = api(alice).get("/api/me/changes/")
    assert answer.status_code == 200
    assert [room["id"] for room in answer.json()["rooms"]] == [str(group.pk)]


def test_nobody_sees_another_persons_list(api: Api, charlie: User, group: Conversation) -> None:
    assert person_changes(user=charlie).rooms == []
    assert api().get("/api/me/changes/").status_code == 401


def test_pinned_conversations_come_first_then_those_that_spoke_last(alice: User) -> None:
    made = {title: new_group(alice, title) for title in ("a", "b", "c", "d")}
    say(alice, made["b"])
    change_mine(user=alice, conversation_id=made["a"].pk, pinned=2)
    change_mine(user=alice, conversation_id=made["c"].pk, pinned=1)
    assert titles(person_changes(user=alice)) == ["c", "a", "b", "d"]


def test_a_long_list_comes_in_pages_that_add_up(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "FIRST_ROOMS", 2)
    monkeypatch.setattr(rooms, "MAX_ROOMS", 3)
    made = [new_group(alice, str(number)) for number in range(7)]
    change_mine(user=alice, conversation_id=made[0].pk, pinned=1)
    first = person_changes(user=alice)
    assert (titles(first), first.complete) == (["0", "6"], False)
    # What moves meanwhile is not lost: it is new to whoever keeps the first answer's `at`.
    say(alice, made[1])
    second = person_changes(user=alice, cursor=first.cursor)
    assert (titles(second), second.complete) == (["5", "4", "3"], False)
    third = person_changes(user=alice, cursor=second.cursor)
    assert (titles(third), third.complete, third.cursor) == (["2"], True, None)
    assert (third.seq, third.at) == (first.seq, first.at)
    assert titles(news(alice, third)) == ["1"]


def test_a_preview_is_what_was_said_last_and_still_is(
    alice: User, bob: User, group: Conversation
) -> None:
    say(bob, group, "first")
    last = say(bob, group, "last" * 100)
    assert room_state(alice.pk, group.pk).preview == ("last" * 100)[:140]
    delete_message(user=bob, message_id=last.pk)
    assert room_state(alice.pk, group.pk).preview == "first"


# --- What is new -----------------------------------------------------------------------------


def test_nothing_moved_is_an_empty_answer_of_one_statement(
    alice: User, group: Conversation
) -> None:
    known = person_changes(user=alice)
    with CaptureQueriesContext(connection) as queries:
        answer = news(alice, known)
    assert (answer.rooms, answer.gone, answer.assistants, answer.reset) == ([], [], [], False)
    assert (answer.since, answer.seq, answer.complete) == (known.seq, known.seq, True)
    assert len(queries) == 1


def test_only_what_moved_is_told(alice: User, bob: User, group: Conversation) -> None:
    other = new_group(alice, "Other", bob)
    new_group(alice, "Still")
    known = person_changes(user=alice)
    say(bob, other)
    change_conversation(user=alice, conversation_id=group.pk, title="Dinner")
    answer = news(alice, known)
    assert sorted(titles(answer)) == ["Dinner", "Other"]
    assert news(alice, answer).rooms == []


def test_what_commits_late_is_not_missed(alice: User, bob: User, group: Conversation) -> None:
    """Two writers, of whom the one that began first commits last."""
    other = new_group(alice, "Other", bob)
    slow = connection.copy()
    try:
        slow.set_autocommit(False)
        with slow.cursor() as cursor:
            cursor.execute(
                "UPDATE chat_conversation SET seq = seq + 1, title = 'Late' WHERE id = %s",
                [other.pk],
            )
        say(bob, group)
        first = person_changes(user=alice)
        assert sorted(titles(first)) == ["Lunch", "Other"]
        slow.commit()
    finally:
        slow.close()
    answer = news(alice, first)
    assert titles(answer) == ["Late"]
    assert news(alice, answer).rooms == []


def test_a_change_within_a_savepoint_is_told(alice: User, bob: User, group: Conversation) -> None:
    known = person_changes(user=alice)
    with transaction.atomic(), transaction.atomic():
        say(bob, group)
    assert titles(news(alice, known)) == ["Lunch"]


def test_a_conversation_one_left_or_that_was_deleted_is_gone(
    alice: User, bob: User, group: Conversation
) -> None:
    other = new_group(bob, "Other", alice)
    known = person_changes(user=alice)
    member = group.members.get(user=bob)
    remove_member(user=bob, conversation_id=group.pk, member_id=member.pk)
    own = other.members.get(user=alice)
    remove_member(user=alice, conversation_id=other.pk, member_id=own.pk)
    delete_conversation(user=alice, conversation_id=group.pk)
    answer = news(alice, known)
    assert set(answer.gone) == {group.pk, other.pk}
    assert answer.rooms == []
    assert news(alice, answer).gone == []
    # To whoever begins now it never was.
    assert (person_changes(user=alice).rooms, person_changes(user=alice).gone) == ([], [])


def test_being_added_and_reading_are_told_to_oneself_alone(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    say(alice, group)
    known = {user: person_changes(user=user) for user in (alice, bob, charlie)}
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    assert titles(news(charlie, known[charlie])) == ["Lunch"]
    known = {user: person_changes(user=user) for user in (alice, bob, charlie)}
    mark_read(user=bob, conversation_id=group.pk, number=1)
    assert [room.mine.read for room in news(bob, known[bob]).rooms] == [1]
    assert news(alice, known[alice]).rooms == news(charlie, known[charlie]).rooms == []


@pytest.mark.parametrize(
    "at",
    [
        "x",
        "1.2",
        "1.5:4:",
        "1.3:9:4,4",
        "1.3:9:9",
        "x.1:1:",
        "1.0:0:",
        "1.1:99999999999999999999:",
        "²." + "1:1:",
    ],
)
def test_an_at_that_nobody_gave_is_refused_by_name(api: Api, alice: User, at: str) -> None:
    answer = api(alice).get("/api/me/changes/", {"since": 0, "at": at})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "at" in json.dumps(answer.json()["details"])


@pytest.mark.parametrize(
    "place",
    [
        b"x",
        b"{}",
        b"[]",
        b'{"since":0,"asked_at":null,"seq":0,"at":"","pinned":0,"active":"x","id":"y"}',
        b"\xff",
    ],
)
def test_a_cursor_that_nobody_gave_is_refused_by_name(api: Api, alice: User, place: bytes) -> None:
    cursor = base64.urlsafe_b64encode(place).decode()
    answer = api(alice).get("/api/me/changes/", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    with pytest.raises(Invalid):
        person_changes(user=alice, cursor="ä")


def test_a_client_that_knows_more_than_there_is_starts_afresh(
    alice: User, group: Conversation
) -> None:
    known = person_changes(user=alice)
    answer = person_changes(user=alice, since=known.seq + 1, at=known.at)
    assert (answer.reset, answer.since, titles(answer)) == (True, None, ["Lunch"])


def test_a_client_that_was_away_too_long_starts_afresh(alice: User, group: Conversation) -> None:
    known = person_changes(user=alice)
    moment, snapshot = known.at.split(".")
    old = f"{int(moment) - rooms.AT_HOLDS - 60}.{snapshot}"
    assert person_changes(user=alice, since=known.seq, at=old).reset


def test_a_snapshot_of_many_transactions_is_made_coarser() -> None:
    running = ",".join(str(number) for number in range(11, 150))
    assert rooms._coarse(f"10:200:{running}") == "10:10:"
    assert rooms._coarse("10:200:11,12") == "10:200:11,12"


# --- Counting --------------------------------------------------------------------------------


def test_numbers_are_dense_and_replies_get_theirs_when_they_end(
    alice: User, chat: Conversation, assistant: Assistant
) -> None:
    said = say(alice, chat)
    waiting = Message.objects.get(role="assistant")
    assert (said.number, waiting.number) == (1, None)
    second = send_message(
        user=alice, conversation_id=chat.pk, client_id="2", content="and?"
    ).message
    assert second.number == 2
    delete_message(user=alice, message_id=waiting.pk)
    waiting.refresh_from_db()
    assert waiting.number == 3
    assert Conversation.objects.get(pk=chat.pk).number == 3


def test_a_read_mark_neither_goes_back_nor_past_the_end_nor_takes_a_number_for_it(
    alice: User, bob: User, group: Conversation
) -> None:
    for _ in range(3):
        say(alice, group)
    seq = Feed.objects.get(user=bob).seq
    assert mark_read(user=bob, conversation_id=group.pk, number=2).unread == 1
    assert mark_read(user=bob, conversation_id=group.pk, number=1).read == 2
    assert mark_read(user=bob, conversation_id=group.pk, number=99).read == 3
    assert mark_read(user=bob, conversation_id=group.pk, number=99).read == 3
    assert Feed.objects.get(user=bob).seq == seq + 2


def test_a_read_mark_does_not_wait_for_the_conversation(
    alice: User, bob: User, group: Conversation
) -> None:
    say(alice, group)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM chat_conversation WHERE id = %s FOR UPDATE", [group.pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        assert mark_read(user=bob, conversation_id=group.pk, number=1).read == 1
    finally:
        other.rollback()
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert Conversation.objects.get(pk=group.pk).seq == 3


def test_a_stranger_and_a_former_member_read_nothing(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    say(alice, group)
    member = group.members.get(user=bob)
    remove_member(user=bob, conversation_id=group.pk, member_id=member.pk)
    for user in (bob, charlie):
        with pytest.raises(NotFound):
            mark_read(user=user, conversation_id=group.pk, number=1)
        with pytest.raises(NotFound):
            change_mine(user=user, conversation_id=group.pk, pinned=1)
        url = f"/api/conversations/{group.pk}/"
        assert api(user).get(url).status_code == 404
        assert api(user).patch(f"{url}mine/", {"pinned": 1}).status_code == 404


def test_one_sets_what_is_ones_own(api: Api, bob: User, group: Conversation) -> None:
    url = f"/api/conversations/{group.pk}/mine/"
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    body = {"level": "mentions", "muted_until": until, "pinned": 3}
    mine = api(bob).patch(url, body).json()["mine"]
    assert (mine["level"], mine["pinned"]) == ("mentions", 3)
    # What is left out stays; null takes away.
    mine = api(bob).patch(url, {"pinned": None}).json()["mine"]
    assert (mine["level"], mine["pinned"], mine["muted_until"] is None) == ("mentions", None, False)
    far = {"muted_until": "4727-05-29T04:24:08-17:07"}
    assert api(bob).patch(url, far).json()["mine"]["muted_until"] == "4727-05-29T21:31:08Z"
    for wrong in (
        {"muted_until": "9999-12-31T23:59:59-17:07"},
        {"muted_until": "2026-01-01T00:00:00"},
        {"level": None},
        {"level": "loud"},
        {"pinned": -1},
        {"muted_until": "soon"},
    ):
        assert api(bob).patch(url, wrong).status_code == 400


def test_what_one_is_told_of_outlives_a_leave(alice: User, bob: User, group: Conversation) -> None:
    change_mine(user=bob, conversation_id=group.pk, level="none")
    member = group.members.get(user=bob)
    remove_member(user=bob, conversation_id=group.pk, member_id=member.pk)
    add_member(user=alice, conversation_id=group.pk, person=bob.pk)
    assert room_state(bob.pk, group.pk).mine.level == "none"


# --- For sockets -----------------------------------------------------------------------------


def test_sockets_begin_with_one_statement(alice: User, bob: User, group: Conversation) -> None:
    person_changes(user=alice)  # the installation has its row
    session = Session.objects.create(user=alice, expires_at=timezone.now())
    claims = Claims(user_id=alice.pk, session_id=session.pk, expires_at=0, token_id="t")
    unknown = replace(claims, session_id=uuid4())
    forged = replace(claims, user_id=bob.pk)
    with CaptureQueriesContext(connection) as queries:
        found = greetings([claims, unknown, forged])
    assert len(queries) == 1
    begun = found[claims]
    assert isinstance(begun, Greeting)
    assert (begun.user, begun.feed, begun.conversations) == (alice, 1, [group.pk.hex])
    assert isinstance(found[unknown], SessionRevoked)
    assert isinstance(found[forged], SessionRevoked)


def test_conversations_of_several_people(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    assert conversations_of([alice.pk, bob.pk, charlie.pk]) == {
        alice.pk: (1, [group.pk.hex]),
        bob.pk: (1, [group.pk.hex]),
    }


# --- Deletion --------------------------------------------------------------------------------


def test_what_was_said_is_purged_in_parts_and_only_of_what_is_deleted(
    alice: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.services.purge._AT_ONCE", 2)
    kept = new_group(alice, "Kept")
    say(alice, kept)
    parent: UUID | None = None
    for number in range(3):
        parent = send_message(
            user=alice,
            conversation_id=group.pk,
            client_id=str(number),
            content="x",
            parent=parent,
        ).message.pk
    assert not purge_some(conversation_id=group.pk)
    delete_conversation(user=alice, conversation_id=group.pk)
    assert group.messages.count() == 3
    assert purge_some(conversation_id=group.pk)
    assert not purge_some(conversation_id=group.pk)
    assert not group.messages.exists()
    assert kept.messages.exists()


def test_a_deleted_conversation_is_forgotten_when_no_at_is_so_old(
    alice: User, group: Conversation
) -> None:
    delete_conversation(user=alice, conversation_id=group.pk)
    assert forget_deleted() == 0
    long_ago = timezone.now() - timedelta(seconds=rooms.AT_HOLDS + 60)
    Conversation.objects.update(deleted_at=long_ago)
    assert forget_deleted() == 1
    assert not ReadState.objects.exists()


def test_everyone_who_is_in_a_conversation_has_a_read_state_and_nobody_else(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    member = group.members.get(user=bob)
    remove_member(user=bob, conversation_id=group.pk, member_id=member.pk)
    present = set(Member.objects.present().people().values_list("user_id", flat=True))
    reading = set(ReadState.objects.filter(gone=False).values_list("user_id", flat=True))
    assert present == reading == {alice.pk, charlie.pk}
