"""What waits for one local channel."""

import json

from channels_pgnotify.mailbox import GAP, Event, Mailbox


def test_message_expires_after_its_last_moment_and_not_in_it() -> None:
    mailbox = Mailbox(capacity=2)
    event = Event(b'{"type": "n"}', json.loads, expires_at=5.0)
    for _ in range(2):
        mailbox.put(event)
    assert mailbox.get_nowait(lambda: 5.0) is event
    assert mailbox.get_nowait(lambda: 5.1) is GAP
    assert mailbox.get_nowait(lambda: 5.1) is None
