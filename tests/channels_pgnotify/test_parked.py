"""Messages for channels that no event loop has at the moment."""

import asyncio
import time

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull

from channels_pgnotify import PostgresChannelLayer
from channels_pgnotify.mailbox import ParkedMessages


def put(parked: ParkedMessages, body: bytes, *, channel: str = "c", expiry: float = 60) -> bool:
    return parked.put(channel, body, capacity=2, expiry=expiry)


def test_messages_wait_in_order_and_are_taken_once() -> None:
    parked = ParkedMessages()
    assert put(parked, b"1")
    assert put(parked, b"other", channel="d")
    assert put(parked, b"2")
    assert parked.take("c") == [b"1", b"2"]
    assert parked.take("c") == []
    assert parked.take("d") == [b"other"]


def test_no_more_wait_than_the_channel_holds() -> None:
    parked = ParkedMessages()
    assert [put(parked, b"%d" % n) for n in range(3)] == [True, True, False]
    assert parked.take("c") == [b"0", b"1"]


def test_expired_messages_are_gone_and_make_room() -> None:
    parked = ParkedMessages()
    for _ in range(2):
        put(parked, b"stale", expiry=-1)
    assert [put(parked, b"%d" % n) for n in range(3)] == [True, True, False]
    assert parked.take("c") == [b"0", b"1"]
    put(parked, b"stale", expiry=-1)
    assert parked.take("c") == []


def test_message_lives_to_the_end_of_its_last_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    parked = ParkedMessages()
    assert [put(parked, b"%d" % n, expiry=0) for n in range(3)] == [True, True, False]
    assert parked.take("c") == [b"0", b"1"]


def test_channels_longest_parked_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParkedMessages, "MAX_CHANNELS", 3)
    parked = ParkedMessages()
    for channel in "abc":
        put(parked, b"1", channel=channel)
    put(parked, b"2", channel="a")
    assert list(parked._channels) == ["a", "b", "c"]
    put(parked, b"1", channel="d")
    assert [parked.take(channel) for channel in "abcd"] == [[], [b"1"], [b"1"], [b"1"]]


def test_nothing_is_left_after_clearing() -> None:
    parked = ParkedMessages()
    put(parked, b"1")
    parked.clear()
    assert parked.take("c") == []


def test_channel_that_no_loop_has_is_full_at_its_capacity(db: None) -> None:
    layer = PostgresChannelLayer(capacity=2)
    channel = async_to_sync(layer.new_channel)()
    for n in range(2):
        async_to_sync(layer.send)(channel, {"type": "n", "n": n})
    with pytest.raises(ChannelFull):
        async_to_sync(layer.send)(channel, {"type": "n", "n": 2})

    async def read() -> list[int]:
        async with asyncio.timeout(10):
            return [(await layer.receive(channel))["n"] for _ in range(2)]

    assert async_to_sync(read)() == [0, 1]
    async_to_sync(layer.close)()
