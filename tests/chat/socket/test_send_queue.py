"""What waits for a slow client: what gives way, and when the client is cut off."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat.socket import send_queue as module
from chat.socket.send_queue import SendQueue, TooSlow
from core.publishing import to_conversation
from protocol.events import ReplyDelta, TypingEvent

DEADLINE = 10.0  # seconds
ROOM, REPLY = uuid4(), uuid4()
CROWD = [f"frame {number}" for number in range(50)]

Event = dict[str, Any]


def delta(
    index: int, text: str = "x", *, message: UUID = REPLY, attempt: int = 1, reasoning: str = ""
) -> Event:
    """A published delta."""
    event = ReplyDelta(
        conversation=ROOM,
        message=message,
        attempt=attempt,
        index=index,
        text=text,
        reasoning=reasoning,
    )
    return to_conversation(event).message


def typing() -> Event:
    """Someone types."""
    return to_conversation(TypingEvent(conversation=ROOM, user=uuid4(), active=True)).message


class Client:
    """Takes what an send_queue sends, once the network does."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.asked = asyncio.Event()
        self.network = asyncio.Event()

    async def take(self, text: str) -> None:
        """Wait for the network."""
        self.asked.set()
        await self.network.wait()
        self.heard.append(text)


@asynccontextmanager
async def sending(send_queue: SendQueue) -> AsyncIterator[None]:
    """Let it send for the length of the block."""
    running = asyncio.create_task(send_queue.run())
    yield
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture
def client() -> Client:
    """A client whose network takes nothing yet."""
    return Client()


@pytest.fixture
def send_queue(client: Client) -> SendQueue:
    """Empty, and not sending yet."""
    return SendQueue(client.take)


@pytest.fixture
def crowded(send_queue: SendQueue) -> SendQueue:
    """One in which as much waits as makes the rest give way."""
    for frame in CROWD:
        send_queue.put(frame)
    return send_queue


@pytest.fixture
def rest(client: Client) -> Callable[[SendQueue], Any]:
    """`await rest(send_queue)`: what the client hears, after the crowd."""

    async def read(send_queue: SendQueue) -> list[str]:
        client.network.set()
        async with sending(send_queue):
            await drained(send_queue)
        return client.heard[len(CROWD) :]

    return read


async def drained(send_queue: SendQueue) -> None:
    """Return once all was sent."""
    async with asyncio.timeout(DEADLINE):
        await send_queue.drained(2 * DEADLINE)


async def test_frames_are_sent_in_order_and_later_ones_too(
    client: Client, send_queue: SendQueue
) -> None:
    client.network.set()
    async with sending(send_queue):
        send_queue.put("one")
        send_queue.put_event(delta(0))
        send_queue.put("two")
        await drained(send_queue)
        send_queue.put("three")
        await drained(send_queue)
    assert client.heard == ["one", delta(0)["frame"], "two", "three"]


async def test_an_outbox_in_which_nothing_waits_is_drained(send_queue: SendQueue) -> None:
    await drained(send_queue)


async def test_it_is_drained_once_the_last_frame_was_taken(
    client: Client, send_queue: SendQueue
) -> None:
    async with sending(send_queue):
        send_queue.put("slow")
        await asyncio.wait_for(client.asked.wait(), DEADLINE)
        draining = asyncio.create_task(send_queue.drained(2 * DEADLINE))
        for _ in range(10):
            await asyncio.sleep(0)  # lets everything go on that can
        assert len(send_queue) == 0
        assert not draining.done()
        client.network.set()
        async with asyncio.timeout(DEADLINE):
            await draining
    assert client.heard == ["slow"]


async def test_who_takes_nothing_is_not_waited_for_for_ever(send_queue: SendQueue) -> None:
    send_queue.put("never")
    async with asyncio.timeout(DEADLINE):
        await send_queue.drained(0.01)
    assert len(send_queue) == 1


async def test_it_ends_with_what_sending_raises() -> None:
    async def broken(_: str) -> None:
        raise ConnectionError

    send_queue = SendQueue(broken)
    send_queue.put("one")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_queue.run(), DEADLINE)


async def test_what_is_of_the_moment_gives_way_in_a_crowd(
    client: Client, send_queue: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    for frame in CROWD[1:]:
        send_queue.put(frame)
    last = typing()
    send_queue.put_event(last)
    assert (len(send_queue), send_queue.dropped) == (50, 0)
    send_queue.put_event(typing())
    assert (len(send_queue), send_queue.dropped) == (50, 1)
    # What a later version publishes, this one does not know to be of the moment.
    send_queue.put_event({"kind": "waved", "frame": "{}"})
    assert (len(send_queue), send_queue.dropped) == (51, 1)
    await rest(send_queue)
    assert client.heard == [*CROWD[1:], last["frame"], "{}"]


async def test_what_must_be_heard_waits_in_a_crowd(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    crowded.put_event({"kind": "message.created", "frame": "hello"})
    crowded.put("ack")
    assert crowded.dropped == 0
    assert await rest(crowded) == ["hello", "ack"]


async def test_deltas_are_not_merged_where_there_is_room(
    client: Client, send_queue: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    for frame in CROWD[2:]:
        send_queue.put(frame)
    for index in range(2):
        send_queue.put_event(delta(index))
    assert (len(send_queue), send_queue.merged) == (50, 0)
    await rest(send_queue)
    assert client.heard[-2:] == [delta(0)["frame"], delta(1)["frame"]]


async def test_deltas_are_merged_in_a_crowd_into_one_that_says_the_same(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    crowded.put_event(delta(3, "To ", reasoning="h"))
    crowded.put_event(delta(4, "be ", reasoning="m"))
    crowded.put_event(delta(5, "ü"))
    assert (len(crowded), crowded.merged) == (51, 2)
    [frame] = await rest(crowded)
    whole = delta(5, "To be ü", reasoning="hm")["frame"]
    assert json.loads(frame) == {**json.loads(whole), "first_index": 3}
    # And as compactly.
    assert len(frame) == len(whole) + len(',"first_index":3')


async def test_merged_deltas_without_reasoning_have_none(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    for index in range(2):
        event = delta(index)
        frame = json.loads(event["frame"])
        del frame["reasoning"]
        crowded.put_event({**event, "frame": json.dumps(frame)})
    [merged] = await rest(crowded)
    assert json.loads(merged)["reasoning"] == ""


async def test_a_delta_alone_is_sent_as_it_was_published(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    crowded.put_event(delta(7))
    assert await rest(crowded) == [delta(7)["frame"]]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(delta(1, attempt=2), id="of another attempt"),
        pytest.param(delta(2), id="after a gap"),
        pytest.param(delta(0), id="of the same index"),
        pytest.param(delta(1, message=uuid4()), id="of another reply"),
    ],
)
async def test_only_what_continues_a_delta_is_merged_into_it(
    crowded: SendQueue, rest: Callable[[SendQueue], Any], second: Event
) -> None:
    crowded.put_event(delta(0))
    crowded.put_event(second)
    assert crowded.merged == 0
    assert await rest(crowded) == [delta(0)["frame"], second["frame"]]


async def test_after_a_gap_deltas_are_merged_into_the_newest(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    for index in (0, 5, 6):
        crowded.put_event(delta(index, str(index)))
    first, second = await rest(crowded)
    assert (json.loads(first)["text"], json.loads(second)["text"]) == ("0", "56")


async def test_deltas_of_several_replies_are_merged_each_into_its_own(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    other = uuid4()
    for index in range(3):
        crowded.put_event(delta(index, "a"))
        crowded.put_event(delta(index, "b", message=other))
    assert [json.loads(frame)["text"] for frame in await rest(crowded)] == ["aaa", "bbb"]


async def test_a_delta_is_not_merged_across_another_frame(
    crowded: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    """The reply's new state may be between the two."""
    crowded.put_event(delta(0))
    crowded.put_event({"kind": "message.updated", "frame": "updated"})
    crowded.put_event(delta(1))
    crowded.put("ack")
    crowded.put_event(delta(2))
    assert crowded.merged == 0
    frames = [delta(0)["frame"], "updated", delta(1)["frame"], "ack", delta(2)["frame"]]
    assert await rest(crowded) == frames


async def test_a_delta_is_not_merged_into_one_that_is_being_sent(
    client: Client, send_queue: SendQueue
) -> None:
    send_queue.put_event(delta(0))
    async with sending(send_queue):
        await asyncio.wait_for(client.asked.wait(), DEADLINE)
        for _ in CROWD:
            send_queue.put_event(delta(0, message=uuid4()))
        send_queue.put_event(delta(1))
        client.network.set()
        await drained(send_queue)
    assert (client.heard[0], client.heard[-1]) == (delta(0)["frame"], delta(1)["frame"])


async def test_sending_a_delta_leaves_the_next_one_open_for_more(
    client: Client, send_queue: SendQueue
) -> None:
    send_queue.put_event(delta(0))
    for frame in CROWD:
        send_queue.put(frame)
    send_queue.put_event(delta(1, "a"))
    async with sending(send_queue):
        await asyncio.wait_for(client.asked.wait(), DEADLINE)
        send_queue.put_event(delta(2, "b"))
        client.network.set()
        await drained(send_queue)
    assert json.loads(client.heard[-1])["text"] == "ab"
    assert send_queue.merged == 1


async def test_sending_a_delta_that_no_more_can_join_goes_on(
    client: Client, send_queue: SendQueue, rest: Callable[[SendQueue], Any]
) -> None:
    send_queue.put_event(delta(0))
    send_queue.put("ack")
    await rest(send_queue)
    assert client.heard == [delta(0)["frame"], "ack"]


def test_the_thousand_and_first_frame_is_one_too_many(send_queue: SendQueue) -> None:
    for number in range(1000):
        send_queue.put(str(number))
    with pytest.raises(TooSlow):
        send_queue.put("one more")
    with pytest.raises(TooSlow):
        send_queue.put_event(delta(0))
    assert len(send_queue) == 1000


def test_more_than_four_mebibytes_are_too_many(send_queue: SendQueue) -> None:
    half = "x" * (2 * 1024 * 1024)
    send_queue.put(half)
    send_queue.put(half)
    with pytest.raises(TooSlow):
        send_queue.put("x")
    assert len(send_queue) == 2


def test_one_frame_larger_than_the_limit_is_taken_alone(send_queue: SendQueue) -> None:
    send_queue.put("x" * (module.MAX_BYTES + 1))
    with pytest.raises(TooSlow):
        send_queue.put("x")


def test_deltas_count_by_the_length_of_their_frames(
    send_queue: SendQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(delta(0)["frame"])
    monkeypatch.setattr(module, "MAX_BYTES", 2 * size)
    send_queue.put_event(delta(0))
    send_queue.put_event(delta(1))
    with pytest.raises(TooSlow):
        send_queue.put_event(delta(2))
    assert len(send_queue) == 2


def test_merged_deltas_count_too(crowded: SendQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(delta(0)["frame"])
    monkeypatch.setattr(module, "MAX_BYTES", sum(map(len, CROWD)) + 3 * size)
    for index in range(3):
        crowded.put_event(delta(index))
    assert (len(crowded), crowded.merged) == (51, 2)
    with pytest.raises(TooSlow):
        crowded.put_event(delta(3))
    with pytest.raises(TooSlow):
        crowded.put("x")


async def test_what_was_sent_counts_no_more(
    client: Client, crowded: SendQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames, deltas and merged deltas alike: there is room for as much again, and no more."""
    deltas = [delta(index) for index in range(3)]
    size = sum(map(len, CROWD)) + sum(len(each["frame"]) for each in deltas)
    monkeypatch.setattr(module, "MAX_BYTES", size)
    for each in deltas:
        crowded.put_event(each)
    client.network.set()
    async with sending(crowded):
        await drained(crowded)
    crowded.put("x")
    crowded.put("x" * (size - 1))
    with pytest.raises(TooSlow):
        crowded.put("x")
