"""What a socket passes on to its client, and when."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from chat.socket import subscriptions as module
from chat.socket.subscriptions import Subscriptions
from protocol.states import Changes, ConversationState, Snapshot

ROOM = uuid4()
REPLY = uuid4()
JOINED = 7  # the seq that the person joined with

Event = dict[str, Any]


def changes(
    seq: int = 10,
    snapshots: list[Snapshot] | None = None,
    readable_after: int = 0,
    members_of: UUID = ROOM,
) -> Changes:
    """The answer to a subscription to the room."""
    return Changes.model_construct(
        conversation=ConversationState.model_construct(id=ROOM, members_of=members_of),
        seq=seq,
        readable_after=readable_after,
        joined_seq=JOINED,
        snapshots=snapshots or [],
    )


def snapshot(attempt: int, index: int) -> Snapshot:
    """The reply so far; the next delta has `index`."""
    return Snapshot(message=REPLY, attempt=attempt, index=index, text="", reasoning="")


def created(seq: int) -> Event:
    """A durable event."""
    return {"kind": "message.created", "conversation": ROOM.hex, "seq": seq}


def typing() -> Event:
    """An event of the moment, without a place in the conversation's order."""
    return {"kind": "typing", "conversation": ROOM.hex}


def delta(attempt: int, index: int, message: UUID = REPLY) -> Event:
    """The next stretch of a reply."""
    return {"kind": "reply.delta", "message": message.hex, "attempt": attempt, "index": index}


def subscribed(answer: Changes | None = None) -> Subscriptions:
    """Someone who follows the room since this answer."""
    following = Subscriptions()
    following.hold(ROOM.hex)
    following.release(answer or changes())
    return following


def test_what_is_not_followed_is_not_passed_on() -> None:
    following = Subscriptions()
    assert following.is_news(ROOM.hex, created(11)) is False
    assert ROOM.hex not in following
    assert len(following) == 0


def test_what_is_followed_is_listed() -> None:
    following = subscribed()
    assert ROOM.hex in following
    assert list(following) == [ROOM.hex]
    assert len(following) == 1


def test_what_is_followed_may_change_while_it_is_listed() -> None:
    following = Subscriptions()
    for _ in range(3):
        following.hold(uuid4().hex)
    for conversation in following:
        following.forget(conversation)
    assert len(following) == 0


def test_a_conversation_is_new_only_the_first_time() -> None:
    following = Subscriptions()
    assert following.hold(ROOM.hex) is True
    assert following.hold(ROOM.hex) is False
    following.release(changes())
    assert following.hold(ROOM.hex) is False
    following.forget(ROOM.hex)
    assert following.hold(ROOM.hex) is True


def test_events_wait_for_the_answer_to_the_subscription_and_follow_it_in_order() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    events = [created(11), delta(1, 0), typing(), created(12)]
    assert [following.is_news(ROOM.hex, event) for event in events] == [False] * 4
    assert following.release(changes(seq=10)) == (events, False)
    assert following.is_news(ROOM.hex, created(13))


def test_what_one_subscription_held_does_not_come_again_with_the_next() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    following.is_news(ROOM.hex, created(11))
    following.release(changes(seq=10))
    following.hold(ROOM.hex)
    assert following.release(changes(seq=10)) == ([], False)


def test_what_the_answer_contains_is_not_told_again() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    for seq in (9, 10, 11):
        following.is_news(ROOM.hex, created(seq))
    assert following.release(changes(seq=10)) == ([created(11)], False)
    # Published late: after the answer was sent.
    assert not following.is_news(ROOM.hex, created(10))
    assert following.is_news(ROOM.hex, created(11))


def test_what_has_no_place_in_the_order_is_passed_on() -> None:
    assert subscribed(changes(seq=10)).is_news(ROOM.hex, typing())


@pytest.mark.parametrize(
    ("attempt", "index", "news"),
    [(2, 4, False), (2, 5, True), (2, 6, True), (1, 9, False), (3, 0, True)],
)
def test_a_delta_is_news_unless_the_snapshot_contains_it(
    attempt: int, index: int, news: bool
) -> None:
    answer = changes(snapshots=[snapshot(attempt=2, index=5)])
    assert subscribed(answer).is_news(ROOM.hex, delta(attempt, index)) is news


def test_every_delta_after_the_snapshot_is_news() -> None:
    following = subscribed(changes(snapshots=[snapshot(attempt=1, index=2)]))
    heard = [following.is_news(ROOM.hex, delta(1, index)) for index in range(5)]
    assert heard == [False, False, True, True, True]


def test_a_delta_of_a_reply_without_a_snapshot_is_news() -> None:
    following = subscribed(changes(snapshots=[snapshot(attempt=1, index=2)]))
    assert following.is_news(ROOM.hex, delta(1, 0, message=uuid4()))


def test_no_more_is_held_than_the_limit_and_what_was_lost_is_said() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    for seq in range(module._MAX_HELD + 1):
        assert not following.is_news(ROOM.hex, created(100 + seq))
    events, lost = following.release(changes())
    assert len(events) == module._MAX_HELD
    assert lost is True


def test_nothing_is_lost_below_the_limit() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    for seq in range(module._MAX_HELD - 1):
        following.is_news(ROOM.hex, created(100 + seq))
    events, lost = following.release(changes())
    assert len(events) == module._MAX_HELD - 1
    assert lost is False


def test_lost_events_are_counted_before_what_the_answer_contains_is_left_out() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    for _ in range(module._MAX_HELD + 1):
        following.is_news(ROOM.hex, created(1))
    assert following.release(changes(seq=10)) == ([], True)


def test_what_is_forgotten_is_not_passed_on() -> None:
    following = subscribed()
    assert following.forget(ROOM.hex) is True
    assert not following.is_news(ROOM.hex, created(11))
    assert following.forget(ROOM.hex) is False


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    following = subscribed()
    following.hold(ROOM.hex)
    following.forget(ROOM.hex)
    assert (list(following), following._held, following._known) == ([], {}, {})


def test_what_was_held_of_a_forgotten_conversation_is_not_told() -> None:
    """A member is removed while the answer to their subscription is read."""
    following = Subscriptions()
    following.hold(ROOM.hex)
    following.is_news(ROOM.hex, created(11))
    following.forget(ROOM.hex)
    assert following.release(changes()) == ([], False)
    assert ROOM.hex not in following
    assert not following.is_news(ROOM.hex, created(12))


def test_what_one_may_not_read_is_not_passed_on_when_it_changes() -> None:
    following = subscribed(changes(readable_after=5))
    edited = {"kind": "message.updated", "conversation": ROOM.hex, "seq": 11}
    assert not following.is_news(ROOM.hex, {**edited, "place": 5})
    assert following.is_news(ROOM.hex, {**edited, "place": 6})


def test_who_leaves_a_room_follows_nothing_inside_of_it() -> None:
    forum = uuid4()
    following = subscribed(changes(members_of=forum))
    assert following.left(uuid4().hex) != [ROOM.hex]
    assert following.left(forum.hex) == [forum.hex, ROOM.hex]
    following.forget(ROOM.hex)
    assert following.left(forum.hex) == [forum.hex]


def test_a_room_that_was_left_while_something_in_it_was_read_is_remembered_until_then() -> None:
    forum = uuid4()
    following = Subscriptions()
    following.hold(ROOM.hex)
    following.left(forum.hex)
    assert following.was_left(changes(members_of=forum))
    assert not following.was_left(changes())
    following.forget(ROOM.hex)
    assert not following.was_left(changes(members_of=forum))


def test_a_stretch_of_a_reply_from_before_one_joined_is_not_passed_on() -> None:
    following = subscribed(changes(readable_after=JOINED))
    assert not following.is_news(ROOM.hex, {**delta(1, 0), "place": JOINED})
    assert following.is_news(ROOM.hex, {**delta(1, 1), "place": JOINED + 1})


def renamed(seq: int, history: str) -> Event:
    """The room changed, and has this history."""
    return {"kind": "conversation.updated", "seq": seq, "history": history}


def test_a_history_that_is_hidden_is_hidden_from_open_sockets() -> None:
    following = subscribed()
    older = {**created(12), "kind": "message.updated", "place": JOINED}
    assert following.is_news(ROOM.hex, renamed(11, "joined"))
    assert not following.is_news(ROOM.hex, older)
    assert following.is_news(ROOM.hex, renamed(13, "all"))
    assert following.is_news(ROOM.hex, {**older, "seq": 14})


def test_a_history_that_was_hidden_before_the_answer_is_as_the_answer_says() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    following.is_news(ROOM.hex, renamed(9, "joined"))
    following.is_news(ROOM.hex, {**created(12), "kind": "message.updated", "place": JOINED})
    assert len(following.release(changes(seq=10))[0]) == 1


def test_a_history_that_is_hidden_while_one_subscribes_is_hidden_at_once() -> None:
    following = Subscriptions()
    following.hold(ROOM.hex)
    hidden = renamed(11, "joined")
    following.is_news(ROOM.hex, hidden)
    following.is_news(ROOM.hex, {**created(12), "kind": "message.updated", "place": JOINED})
    assert following.release(changes(seq=10)) == ([hidden], False)
