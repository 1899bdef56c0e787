"""`changes/?since=`: whatever a client knew, it is brought up to date from one read."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Conversation, Message, ReplyChunk
from chat.selectors.sync import Asked, changes_since, nothing_since
from chat.services.conversations import change_conversation
from chat.services.members import add_member, change_member, remove_member
from chat.services.messages import send_message
from chat.services.replies import claim_reply
from core.errors import NotFound
from protocol import limits
from protocol.states import Changes

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)


def say(user: User, conversation: Conversation, client_id: str = "1") -> Message:
    """Send a message."""
    return send_message(
        user=user, conversation_id=conversation.pk, client_id=client_id, content=client_id
    ).message


def changes(user: User, conversation: Conversation, since: int | None) -> Changes:
    """Read the changes."""
    return changes_since(user=user, conversation_id=conversation.pk, since=since)


def parts(user: User, conversation: Conversation, since: int) -> list[Changes]:
    """Ask on until the answer is complete; each must lead further than the one before."""
    found = [changes(user, conversation, since)]
    while not found[-1].complete:
        found.append(changes(user, conversation, found[-1].seq))
        assert found[-1].seq > found[-2].seq
    return found


def test_a_first_load_has_members_and_newest_messages(
    alice: User, bob: User, group: Conversation
) -> None:
    for number in range(limits.PAGE + 2):
        say(alice, group, str(number))

    loaded = changes(bob, group, None)

    assert [row.content for row in loaded.messages] == [
        str(number) for number in range(2, limits.PAGE + 2)
    ]
    assert (loaded.more_before, loaded.complete, loaded.reset) == (True, True, False)
    assert {row.user.name for row in loaded.members if row.user} == {"alice", "bob"}
    assert loaded.seq == loaded.conversation.seq == group.seq + limits.PAGE + 2


def test_nothing_changed_is_an_empty_answer(alice: User, group: Conversation) -> None:
    answer = changes(alice, group, group.seq)

    assert (answer.messages, answer.members, answer.snapshots) == ([], [], [])
    assert answer.seq == group.seq


def test_many_who_lack_nothing_are_answered_by_one_statement(
    alice: User, bob: User, charlie: User, group: Conversation, chat: Conversation
) -> None:
    changes(alice, group, None)  # the installation has its row
    group.refresh_from_db()
    chat.refresh_from_db()
    lacks_nothing = [Asked(alice.pk, group.pk, group.seq), Asked(bob.pk, group.pk, group.seq)]
    lacks_nothing.append(Asked(alice.pk, chat.pk, chat.seq))
    others = [Asked(alice.pk, group.pk, group.seq - 1), Asked(alice.pk, group.pk, group.seq + 1)]
    others += [Asked(bob.pk, chat.pk, chat.seq), Asked(charlie.pk, group.pk, group.seq)]
    with CaptureQueriesContext(connection) as queries:
        found = nothing_since([*lacks_nothing, *others])
    assert len(queries) == 1
    assert [found[one] for one in others] == [None] * 4
    people = {person.pk: person for person in (alice, bob)}
    for one in lacks_nothing:
        assert found[one] == changes_since(
            user=people[one.user_id], conversation_id=one.conversation_id, since=one.since
        )


def test_only_rows_changed_since_are_told(alice: User, bob: User, group: Conversation) -> None:
    say(alice, group, "before")
    known = changes(alice, group, None).seq
    said = say(bob, group, "after")
    member = group.members.get(user=bob)
    change_member(user=bob, conversation_id=group.pk, member_id=member.pk, nickname="Bobby")
    change_conversation(user=alice, conversation_id=group.pk, title="Dinner")

    answer = changes(alice, group, known)

    assert [row.id for row in answer.messages] == [said.pk]
    assert [(row.user.name, row.nickname) for row in answer.members if row.user] == [
        ("bob", "Bobby")
    ]
    assert answer.conversation.title == "Dinner"
    assert answer.conversation.changed_seq == answer.seq == known + 3


def test_many_changes_come_in_parts_that_add_up(
    alice: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CHANGES", 3)
    for number in range(8):
        say(alice, group, str(number))

    told = [[row.content for row in part.messages] for part in parts(alice, group, group.seq)]

    assert told == [["0", "1", "2"], ["3", "4", "5"], ["6", "7"]]


def test_many_changed_members_come_in_parts_that_add_up(
    alice: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CHANGES", 3)
    names = [f"person-{number}" for number in range(8)]
    for name in names:
        person = User.objects.create_user(name)
        add_member(user=alice, conversation_id=group.pk, person=person.pk)
    say(alice, group, "hello, all")

    found = parts(alice, group, group.seq)

    told = [[row.user.name for row in part.members if row.user] for part in found]
    assert told == [names[:3], names[3:6], names[6:]]
    # Both lists are cut at one place: nothing is told before what came earlier.
    assert [len(part.messages) for part in found] == [0, 0, 1]


@pytest.mark.parametrize(("members_first", "text"), [(False, "m"), (True, "messages")])
def test_parts_lose_nothing_whatever_cuts_them_first(
    alice: User,
    group: Conversation,
    monkeypatch: pytest.MonkeyPatch,
    members_first: bool,
    text: str,
) -> None:
    monkeypatch.setattr(limits, "MAX_CHANGES", 3)
    monkeypatch.setattr(limits, "MAX_CHANGES_TEXT", 10)
    names = [f"person-{number}" for number in range(5)]
    texts = [f"{text}{number}" for number in range(5)]

    def join() -> None:
        for name in names:
            person = User.objects.create_user(name)
            add_member(user=alice, conversation_id=group.pk, person=person.pk)

    if members_first:
        join()
    for content in texts:
        say(alice, group, content)
    if not members_first:
        join()

    found = parts(alice, group, group.seq)

    assert [row.content for part in found for row in part.messages] == texts
    assert [row.user.name for part in found for row in part.members if row.user] == names


def test_parts_hold_so_much_text_or_one_message(
    alice: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message longer than a part comes alone, else nobody would get past it."""
    monkeypatch.setattr(limits, "MAX_CHANGES_TEXT", 10)
    texts = ["a" * 11, "b" * 6, "c" * 4, "d"]
    for text in texts:
        say(alice, group, text)

    told = [[row.content for row in part.messages] for part in parts(alice, group, group.seq)]

    assert told == [texts[:1], texts[1:3], texts[3:]]


def test_a_since_from_the_future_is_a_fresh_start(alice: User, group: Conversation) -> None:
    answer = changes(alice, group, group.seq + 1000)

    assert answer.reset is True
    assert len(answer.members) == 2


def test_a_streaming_reply_is_told_by_snapshot(alice: User, chat: Conversation) -> None:
    reply = send_message(user=alice, conversation_id=chat.pk, client_id="1", content="hello").reply
    assert reply is not None
    claim = claim_reply(message_id=reply.pk, conversation_id=chat.pk)
    assert claim is not None
    known = changes(alice, chat, None).seq
    for index, text in enumerate(["To", " be", ""]):
        ReplyChunk.objects.create(message_id=reply.pk, attempt=1, index=index, text=text)
    # Of an attempt that lost the reply: no part of it.
    ReplyChunk.objects.create(message_id=reply.pk, attempt=0, index=9, text="stale")

    for since in (None, known):
        (snapshot,) = changes(alice, chat, since).snapshots
        assert (snapshot.message, snapshot.attempt) == (reply.pk, 1)
        assert (snapshot.text, snapshot.index) == ("To be", 3)


def test_a_first_load_leaves_out_former_members(
    alice: User, bob: User, group: Conversation
) -> None:
    member = group.members.get(user=bob)
    remove_member(user=alice, conversation_id=group.pk, member_id=member.pk)

    assert [row.user.name for row in changes(alice, group, None).members if row.user] == ["alice"]


def test_a_removed_member_reads_nothing_more(alice: User, bob: User, group: Conversation) -> None:
    member = next(
        row for row in changes(bob, group, None).members if row.user and row.user.id == bob.pk
    )
    remove_member(user=alice, conversation_id=group.pk, member_id=member.id)

    with pytest.raises(NotFound):
        changes(bob, group, None)
    left = changes(alice, group, group.seq).members
    assert [(row.id, row.left_at is not None) for row in left] == [(member.id, True)]


def test_the_read_sees_one_state_even_while_others_write(
    alice: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message committed between the two queries belongs to the next answer, whole."""
    from concurrent.futures import ThreadPoolExecutor

    from chat.selectors import sync as module

    def elsewhere() -> None:
        try:
            say(alice, group, "meanwhile")
        finally:
            connection.close()

    original = module._members

    def interrupted(*asked: Any, **more: int) -> object:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(elsewhere).result(10)
        return original(*asked, **more)

    monkeypatch.setattr(module, "_members", interrupted)
    first = changes(alice, group, group.seq - 1)
    monkeypatch.setattr(module, "_members", original)

    assert (first.messages, first.seq) == ([], group.seq)
    assert [row.content for row in changes(alice, group, first.seq).messages] == ["meanwhile"]


@pytest.mark.parametrize("since", ["-1", "x", "1.0", "9" * 25])
def test_a_wrong_since_has_its_stated_answer(
    api: Api, alice: User, group: Conversation, since: str
) -> None:
    answer = api(alice).get(f"/api/conversations/{group.pk}/changes/", {"since": since})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_rest_gives_the_same_answer_as_the_selector(
    api: Api, alice: User, group: Conversation
) -> None:
    say(alice, group)
    answer = api(alice).get(f"/api/conversations/{group.pk}/changes/", {"since": "0"})

    assert Changes.model_validate_json(answer.content) == changes(alice, group, 0)
