"""What waits for one local channel."""

import json
from typing import Any

from channels_pgnotify.mailbox import GAP, Event, Mailbox


class Taker:
    """Takes what it is ready for."""

    def __init__(self) -> None:
        self.ready = True
        self.taken: list[dict[str, Any]] = []
        self.looks = 0

    def take(self, message: dict[str, Any]) -> bool:
        if self.ready:
            self.taken.append(message)
        return self.ready

    def look(self) -> None:
        self.looks += 1


def event(n: int) -> Event:
    return Event(json.dumps({"type": "n", "n": n}).encode(), json.loads, expires_at=5.0)


def test_message_expires_after_its_last_moment_and_not_in_it() -> None:
    mailbox = Mailbox(capacity=2)
    event = Event(b'{"type": "n"}', json.loads, expires_at=5.0)
    for _ in range(2):
        mailbox.put(event)
    assert mailbox.get_nowait(lambda: 5.0) is event
    assert mailbox.get_nowait(lambda: 5.1) is GAP
    assert mailbox.get_nowait(lambda: 5.1) is None


def test_a_taker_is_offered_nothing_while_something_waits() -> None:
    mailbox, taker = Mailbox(capacity=2), Taker()
    mailbox.taker = taker
    first, *others = (event(n) for n in range(5))
    mailbox.put(first)
    assert [message is first.shared for message in taker.taken] == [True]
    taker.ready = False
    mailbox.put(others[0])
    taker.ready = True
    mailbox.put(others[1])
    assert (len(taker.taken), taker.looks) == (1, 2)
    assert mailbox.put(others[2]) is False  # one too many
    assert [mailbox.get_nowait(lambda: 0.0) for _ in range(2)] == others[:2]
    mailbox.put(others[3])
    assert len(taker.taken) == 1
    assert mailbox.get_nowait(lambda: 0.0) is GAP
    mailbox.put(others[3])
    assert [message["n"] for message in taker.taken] == [0, 4]
    mailbox.put_gap()
    assert taker.looks == 3
    assert mailbox.get_nowait(lambda: 0.0) is GAP
