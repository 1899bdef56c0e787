"""Telling everyone's lists, soon, that something happened in a conversation."""

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.db import OperationalError

from accounts.models import User
from chat import unread
from chat.models import Conversation
from chat.services.messages import send_message
from core.publishing import Publication, user_group

pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE = 10.0  # seconds


class Told:
    """What the thread published, to be waited for."""

    def __init__(self) -> None:
        self.publications: list[tuple[Publication, ...]] = []
        self._more = threading.Condition()
        self.failures = 0

    def __call__(self, *publications: Publication) -> None:
        with self._more:
            if self.failures:
                self.failures -= 1
                self._more.notify_all()
                raise OperationalError
            self.publications.append(publications)
            self._more.notify_all()

    def wait(self, count: int) -> None:
        """Wait until so many were published."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.publications) >= count, DEADLINE)

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


def say(user: User, conversation: Conversation, client_id: str) -> None:
    send_message(user=user, conversation_id=conversation.pk, client_id=client_id, content="hello")


def test_a_message_is_told_to_every_member_with_their_own_count(
    alice: User, bob: User, group: Conversation, told: Told
) -> None:
    say(bob, group, "1")
    told.wait(1)
    frames = {one.group: one.message["frame"] for one in told.publications[-1]}
    assert set(frames) == {user_group(alice.pk), user_group(bob.pk)}
    assert '"unread":1' in frames[user_group(alice.pk)]
    assert '"unread":0' in frames[user_group(bob.pk)]


def test_touches_that_come_together_are_told_together(
    group: Conversation, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[list[UUID]] = []
    monkeypatch.setattr(unread, "unread_of_members", lambda ids: counted.append(list(ids)) or [])
    unread.touch(group.pk)
    told.wait(1)
    for _ in range(50):
        unread.touch(group.pk)
    told.wait(2)
    assert counted == [[group.pk], [group.pk]]


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
