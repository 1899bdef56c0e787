"""What leaves at once; what waits for a slow client, what gives way, when the client is cut off."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from chat.socket.send_queue import SendQueue, TooSlow, framed
from core.publishing import to_conversation
from protocol import limits
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
    return to_conversation(TypingEvent(conversation=ROOM, users=[uuid4()], count=1)).message


class Client:
    """Takes what a queue sends, once the network does."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.asked = asyncio.Event()
        self.network = asyncio.Event()
        self.woken = 0

    def wake(self) -> None:
        """Note that something waits."""
        self.woken += 1

    async def take(self, text: str) -> None:
        """Wait for the network."""
        self.asked.set()
        await self.network.wait()
        self.heard.append(text)


class Transport:
    """Takes whole frames at once, while it is not paused."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.paused = False
        self.frames: list[bytes] = []
        self.buffered = 0

    def write(self, frame: bytes) -> bool:
        """Take a frame, if it may be."""
        if not self.paused:
            self.frames.append(frame)
            self.client.heard.append(text_of(frame))
        return not self.paused


def text_of(frame: bytes) -> str:
    """Read a server's frame as a client does."""
    reader = StreamReader()
    reader.feed_data(frame)
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    assert reader.buffer == b""
    assert parsed.value.value.opcode is Opcode.TEXT
    return bytes(parsed.value.value.data).decode()


@asynccontextmanager
async def sending(send_queue: SendQueue) -> AsyncIterator[None]:
    """Let it send what waits, during the block; it ends by itself."""
    running = asyncio.create_task(send_queue.run())
    yield
    await asyncio.wait_for(running, DEADLINE)


@pytest.fixture
def client() -> Client:
    """A client whose network takes nothing yet."""
    return Client()


@pytest.fixture
def send_queue(client: Client) -> SendQueue:
    """Empty, on a server that writes nothing straight, and not sending yet."""
    return SendQueue(client.take, client.wake)


@pytest.fixture
def transport(client: Client) -> Transport:
    """A transport that is not paused."""
    return Transport(client)


@pytest.fixture
def straight(client: Client, transport: Transport) -> SendQueue:
    """Empty, on a transport that takes frames at once."""
    return SendQueue(client.take, client.wake, transport.write, lambda: transport.buffered)


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
    await asyncio.wait_for(send_queue.drained(), DEADLINE)


def sizes(frames: Iterable[str]) -> int:
    """How many bytes these are on the wire."""
    return sum(len(framed(frame)) for frame in frames)


async def test_frames_are_sent_in_order_and_later_ones_too(
    client: Client, send_queue: SendQueue
) -> None:
    client.network.set()
    send_queue.put("one")
    send_queue.put_event(delta(0))
    send_queue.put("two")
    assert client.woken == 1
    async with sending(send_queue):
        await drained(send_queue)
    send_queue.put("three")
    assert client.woken == 2
    async with sending(send_queue):
        await drained(send_queue)
    assert client.heard == ["one", delta(0)["frame"], "two", "three"]


@pytest.mark.parametrize("text", ["", "ü" * 62, "ü" * 63, "x" * 65_535, "x" * 65_536])
def test_what_leaves_straight_is_one_whole_frame(
    straight: SendQueue, client: Client, text: str
) -> None:
    straight.put(text)
    assert client.heard == [text]
    assert client.woken == 0


def test_every_socket_gets_the_same_bytes_of_an_event(client: Client) -> None:
    transports = [Transport(client) for _ in range(3)]
    event = {"kind": "message.created", "frame": "hello"}
    for each in transports:
        # The layer shares a message, or gives each reader a copy.
        SendQueue(client.take, client.wake, each.write).put_event(event.copy())
    assert client.heard == ["hello"] * 3
    assert len({id(each.frames[0]) for each in transports}) == 1


async def test_a_paused_transport_makes_frames_wait(
    straight: SendQueue, transport: Transport, client: Client
) -> None:
    transport.paused = True
    straight.put("one")
    straight.put_event(typing())
    assert (len(straight), client.woken, client.heard) == (2, 1, [])


async def test_nothing_overtakes_what_waits_or_is_being_sent(
    straight: SendQueue, transport: Transport, client: Client
) -> None:
    transport.paused = True
    straight.put("one")
    straight.put("two")
    transport.paused = False
    straight.put("three")
    async with sending(straight):
        await asyncio.wait_for(client.asked.wait(), DEADLINE)
        straight.put_event({"kind": "message.created", "frame": "four"})
        client.network.set()
        await drained(straight)
    straight.put("five")
    assert client.heard == ["one", "two", "three", "four", "five"]
    assert len(transport.frames) == 1

    transport.paused = True
    client.network.clear()
    client.asked.clear()
    straight.put("six")
    async with sending(straight):
        await asyncio.wait_for(client.asked.wait(), DEADLINE)
        transport.paused = False
        assert len(straight) == 0
        straight.put("seven")
        client.network.set()
        await drained(straight)
    assert client.heard[-2:] == ["six", "seven"]


def test_who_takes_nothing_for_thirty_seconds_is_stuck(
    straight: SendQueue, transport: Transport
) -> None:
    assert not straight.stuck(0.0)
    transport.paused, transport.buffered = True, 1000
    straight.put("one")
    assert not straight.stuck(100.0)
    assert not straight.stuck(129.9)
    assert straight.stuck(130.0)


def test_who_takes_a_byte_now_and_then_is_not_stuck(
    straight: SendQueue, transport: Transport
) -> None:
    transport.paused, transport.buffered = True, 1000
    straight.put("one")
    assert not straight.stuck(100.0)
    transport.buffered -= 1
    assert not straight.stuck(129.0)
    # The server's own pongs are no progress of the client's.
    transport.buffered += 10
    assert not straight.stuck(158.9)
    assert straight.stuck(159.0)


async def test_a_frame_that_was_sent_is_progress_though_more_is_buffered() -> None:
    second, go_on = asyncio.Event(), asyncio.Event()

    async def take(text: str) -> None:
        if text == "two":
            second.set()
            await go_on.wait()

    buffered = 1000
    send_queue = SendQueue(take, lambda: None, lambda _: False, lambda: buffered)
    send_queue.put("one")
    send_queue.put("two")
    assert not send_queue.stuck(100.0)
    async with sending(send_queue):
        await asyncio.wait_for(second.wait(), DEADLINE)
        buffered = 5000
        assert not send_queue.stuck(130.0)
        assert send_queue.stuck(160.0)
        go_on.set()
        await drained(send_queue)
    assert not send_queue.stuck(1000.0)


async def test_an_outbox_in_which_nothing_waits_is_drained(send_queue: SendQueue) -> None:
    await drained(send_queue)


async def test_it_is_drained_once_the_last_frame_was_taken(
    client: Client, send_queue: SendQueue
) -> None:
    async with sending(send_queue):
        send_queue.put("slow")
        await asyncio.wait_for(client.asked.wait(), DEADLINE)
        draining = asyncio.create_task(send_queue.drained())
        for _ in range(10):
            await asyncio.sleep(0)  # lets everything go on that can
        assert len(send_queue) == 0
        assert not draining.done()
        client.network.set()
        async with asyncio.timeout(DEADLINE):
            await draining
    assert client.heard == ["slow"]


async def test_it_ends_with_what_sending_raises() -> None:
    async def broken(_: str) -> None:
        raise ConnectionError

    send_queue = SendQueue(broken, lambda: None)
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


def test_a_million_bytes_are_too_many_however_few_characters_they_are(
    send_queue: SendQueue,
) -> None:
    quarter = "ü" * 125_000
    for _ in range(4):
        send_queue.put(quarter)
    with pytest.raises(TooSlow):
        send_queue.put("x")
    assert len(send_queue) == 4


def test_one_frame_may_go_beyond_the_limit_and_no_more(send_queue: SendQueue) -> None:
    send_queue.put("x")
    send_queue.put("x" * 2_000_000)
    with pytest.raises(TooSlow):
        send_queue.put("x")


def test_deltas_count_by_the_length_of_their_frames(
    send_queue: SendQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(framed(delta(0)["frame"]))
    monkeypatch.setattr(limits, "MAX_WAITING_BYTES", 2 * size)
    send_queue.put_event(delta(0))
    send_queue.put_event(delta(1))
    with pytest.raises(TooSlow):
        send_queue.put_event(delta(2))
    assert len(send_queue) == 2


def test_merged_deltas_count_too(crowded: SendQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(framed(delta(0)["frame"]))
    monkeypatch.setattr(limits, "MAX_WAITING_BYTES", sizes(CROWD) + 3 * size)
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
    size = sizes(CROWD) + sizes(each["frame"] for each in deltas)
    monkeypatch.setattr(limits, "MAX_WAITING_BYTES", size)
    for each in deltas:
        crowded.put_event(each)
    client.network.set()
    async with sending(crowded):
        await drained(crowded)
    crowded.put("x")
    crowded.put("x" * (size - 10))
    crowded.put("x")
    with pytest.raises(TooSlow):
        crowded.put("x")
