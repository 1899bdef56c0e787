"""Telling everyone's lists, soon, what moved in a conversation."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError

from accounts.models import User
from chat import unread
from chat.models import Assistant, Conversation, Message
from chat.services.conversations import change_conversation, create_conversation
from chat.services.members import add_member
from chat.services.messages import delete_message, edit_message, send_message
from chat.services.replies import Outcome, claim_reply, finish_reply
from chat.unread import Touch
from core.publishing import ROSTERS, Publication
from protocol.limits import PREVIEW

pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE = 10.0  # seconds


class Told:
    """What the thread published, to be waited for."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self._more = threading.Condition()
        self.failures = 0

    def __call__(self, *publications: Publication) -> None:
        with self._more:
            if self.failures:
                self.failures -= 1
                self._more.notify_all()
                raise OperationalError
            self.publications += publications
            self._more.notify_all()

    def wait(self, count: int) -> dict[str, Any]:
        """Wait until so many were published; return the last."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.publications) >= count, DEADLINE)
        return self.publications[-1].message

    def wait_for_failure(self) -> None:
        """Wait until all failures have been."""
        with self._more:
            assert self._more.wait_for(lambda: self.failures == 0, DEADLINE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """What the thread publishes, and nothing of tests before."""
    unread.stop()
    told = Told()
    monkeypatch.setattr(unread, "publish_now", told)
    yield told
    unread.stop()


@pytest.fixture
def touches(monkeypatch: pytest.MonkeyPatch) -> list[Touch]:
    """What the thread would be given."""
    given: list[Touch] = []
    monkeypatch.setattr(unread, "_touch", given.append)
    return given


def say(user: User, conversation: Conversation, client_id: str, content: str = "hello") -> Message:
    return send_message(
        user=user, conversation_id=conversation.pk, client_id=client_id, content=content
    ).message


def test_a_message_is_one_publication_however_many_members_there_are(
    bob: User, group: Conversation, told: Told
) -> None:
    message = say(bob, group, "1")
    touch = told.wait(1)
    assert {one.group for one in told.publications} == {ROSTERS}
    assert touch["type"] == "room.touched"
    assert touch["conversation"] == group.pk.hex
    assert (touch["number"], touch["seq"]) == (message.number, message.seq)
    assert touch["preview"] == "hello"
    # They have read what they wrote.
    assert touch["read"] == {bob.pk.hex: message.number}
    assert touch["removed"] == []


def test_a_preview_is_short(bob: User, group: Conversation, touches: list[Touch]) -> None:
    say(bob, group, "1", "x" * 1000)
    assert touches[-1].preview == "x" * PREVIEW


def test_a_touch_says_what_was_deleted_and_what_is_the_newest_then(
    bob: User, group: Conversation, touches: list[Touch]
) -> None:
    say(bob, group, "1", "first")
    last = say(bob, group, "2", "second")
    delete_message(user=bob, message_id=last.pk)
    assert (touches[-1].removed, touches[-1].preview) == ([last.number], "first")


def test_a_reworded_message_is_shown_reworded(
    bob: User, group: Conversation, touches: list[Touch]
) -> None:
    message = say(bob, group, "1", "first")
    edit_message(user=bob, message_id=message.pk, client_id="2", content="other")
    assert (touches[-1].preview, touches[-1].number) == ("other", message.number)


def test_a_touch_says_all_that_a_list_shows_whatever_it_is_about(
    alice: User, bob: User, group: Conversation, touches: list[Touch]
) -> None:
    say(bob, group, "1", "y" * 1000)
    change_conversation(user=alice, conversation_id=group.pk, title="Dinner")
    last = touches[-1]
    assert (last.title, last.preview, last.number) == ("Dinner", "y" * PREVIEW, 1)


def test_touches_that_come_together_are_told_together(told: Told) -> None:
    unread._touch(Touch(conversation="c", seq=1, number=1, removed=[1]))
    told.wait(1)
    for seq in range(2, 52):
        unread._touch(Touch(conversation="c", seq=seq, number=seq, removed=[seq], read={"a": seq}))
    merged = told.wait(2)
    assert (merged["seq"], merged["number"], merged["read"]) == (51, 51, {"a": 51})
    assert merged["removed"] == list(range(2, 52))


@pytest.mark.parametrize("late", [False, True])
def test_two_touches_make_one_in_whatever_order_they_come(late: bool) -> None:
    older = Touch("c", 1, 4, "2026-01-01", "Old", "older", [1], {"a": 3, "b": 2})
    newer = Touch("c", 2, 5, "2026-01-02", "New", "newer", [2], {"b": 5})
    merged = newer.merged(older) if late else older.merged(newer)
    assert merged == Touch("c", 2, 5, "2026-01-02", "New", "newer", [1, 2], {"a": 3, "b": 5})


def test_a_touch_that_is_lost_is_made_good_by_the_next(
    alice: User, group: Conversation, told: Told
) -> None:
    told.failures = 1
    say(alice, group, "1")
    told.wait_for_failure()
    say(alice, group, "2")
    told.wait(1)


def test_after_a_stop_the_next_touch_starts_afresh(
    alice: User, group: Conversation, told: Told
) -> None:
    say(alice, group, "1")
    told.wait(1)
    unread.stop()
    assert not [one for one in threading.enumerate() if one.name == "touches"]
    say(alice, group, "2")
    told.wait(2)
    assert [one.daemon for one in threading.enumerate() if one.name == "touches"] == [True]


def test_where_newcomers_read_only_what_follows_no_touch_shows_them_more(
    alice: User, charlie: User, group: Conversation, touches: list[Touch]
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    say(alice, group, "1", "before")
    second = say(alice, group, "2", "also before")
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    assert touches[-1].preview is None
    delete_message(user=alice, message_id=second.pk)
    assert touches[-1].preview == ""


def test_the_end_of_a_reply_shows_nothing_of_it_to_who_came_meanwhile(
    alice: User, charlie: User, assistant: Assistant, touches: list[Touch]
) -> None:
    room = create_conversation(user=alice, kind="group", assistant="assistant", history="joined")
    previews = []
    for number, newcomer in enumerate((None, charlie)):
        asked = send_message(
            user=alice,
            conversation_id=room.pk,
            client_id=str(number),
            content="hi",
            assistant="assistant",
        )
        assert asked.reply is not None
        claim = claim_reply(message_id=asked.reply.pk, conversation_id=room.pk)
        assert claim is not None
        if newcomer is not None:
            add_member(user=alice, conversation_id=room.pk, person=newcomer.pk)
        finish_reply(
            message_id=claim.message.pk,
            conversation_id=room.pk,
            attempt=claim.attempt,
            outcome=Outcome(status="complete", content="secret"),
        )
        previews.append(touches[-1].preview)
    assert previews == ["secret", None]


def test_a_touch_that_shows_nothing_new_keeps_what_the_one_before_showed() -> None:
    said, joined = Touch(seq=1, preview="hello"), Touch(seq=2, preview=None)
    assert said.merged(joined).preview == joined.merged(said).preview == "hello"
