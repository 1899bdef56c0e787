import asyncio
from typing import Any, ClassVar

import pytest
from asgiref.testing import ApplicationCommunicator
from channels import layers
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import InMemoryChannelLayer

from channels_pgnotify import PostgresChannelLayer, PushMixin

from .conftest import DEADLINE, MakeLayer, until


class Consumer(PushMixin, AsyncWebsocketConsumer):
    """Joins the group "room"; a message of its own type is answered in a handler."""

    groups = ["room"]

    async def own_type(self, event: dict[str, Any]) -> None:
        await self.send(text_data=f"handled {event['n']}")

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        await self.send(text_data=f"echo {text_data}")


@pytest.fixture
async def layer_in_use(layer: PostgresChannelLayer) -> Any:
    """The layer as Channels' default one."""
    before = layers.channel_layers.set("default", layer)
    yield layer
    if before is None:
        del layers.channel_layers.backends["default"]
    else:
        layers.channel_layers.set("default", before)


class Straight(Consumer):
    """Takes frames at once, unless they say otherwise."""

    heard: ClassVar[list[str]] = []
    messages: ClassVar[list[dict[str, Any]]] = []
    began: ClassVar[asyncio.Event]
    go_on: ClassVar[asyncio.Event]

    async def slow_type(self, event: dict[str, Any]) -> None:
        self.began.set()
        await self.go_on.wait()
        self.heard.append("handled")

    def push(self, message: dict[str, Any]) -> bool:
        if message["frame"] == "broken":
            raise ZeroDivisionError
        if message["frame"] != "later":
            self.heard.append(message["frame"])
            self.messages.append(message)
        return message["frame"] != "later"

    async def pushed(self, message: dict[str, Any]) -> None:
        self.heard.append(f"pushed {message['frame']}")

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        await self.slow_type({})


@pytest.fixture
def straight() -> type[Straight]:
    """The class, with nothing heard yet."""
    Straight.heard, Straight.messages = [], []
    Straight.began, Straight.go_on = asyncio.Event(), asyncio.Event()
    return Straight


async def _connected(consumer: type[Consumer] = Consumer) -> ApplicationCommunicator:
    socket = ApplicationCommunicator(consumer.as_asgi(), {"type": "websocket", "path": "/"})
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output(DEADLINE))["type"] == "websocket.accept"
    return socket


async def _text(socket: ApplicationCommunicator) -> str:
    return (await socket.receive_output(DEADLINE))["text"]


async def _leave(socket: ApplicationCommunicator) -> None:
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(DEADLINE)


async def test_pushed_frames_and_handled_messages_keep_their_order(
    layer_in_use: PostgresChannelLayer,
) -> None:
    socket = await _connected()
    for n in range(10):
        await layer_in_use.group_send("room", {"type": "push", "frame": f"frame {n}"})
        await layer_in_use.group_send("room", {"type": "own.type", "n": n})
    heard = [await _text(socket) for _ in range(20)]
    assert heard == [text for n in range(10) for text in (f"frame {n}", f"handled {n}")]
    await socket.send_input({"type": "websocket.receive", "text": "hello"})
    assert await _text(socket) == "echo hello"
    await _leave(socket)


async def test_a_thousand_sockets_that_leave_at_once_leave_nothing_behind(
    layer_in_use: PostgresChannelLayer,
) -> None:
    sockets = await asyncio.gather(*(_connected() for _ in range(1_000)))
    listener = layer_in_use._listener()
    assert len(listener.channels.mailboxes) == len(listener.channels.groups["room"]) == 1_000
    await layer_in_use.group_send("room", {"type": "push", "frame": "bye"})
    await asyncio.gather(*(_leave(socket) for socket in sockets))
    assert not listener.channels.mailboxes
    assert not listener.channels.groups
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert tasks == [listener._task]


async def test_a_push_that_fails_ends_the_consumer(layer_in_use: PostgresChannelLayer) -> None:
    socket = await _connected()
    await layer_in_use.group_send("room", {"type": "push"})
    with pytest.raises(KeyError):
        await socket.wait(DEADLINE)
    assert not layer_in_use._listener().channels.mailboxes


async def test_frames_taken_at_once_are_one_message_for_all_sockets(
    layer_in_use: PostgresChannelLayer, straight: type[Straight]
) -> None:
    sockets = [await _connected(straight) for _ in range(3)]
    before = asyncio.all_tasks()
    await layer_in_use.group_send("room", {"type": "push", "frame": "one"})
    await layer_in_use.group_send("room", {"type": "push", "frame": "two"})
    await until(lambda: len(straight.heard) == 6)
    assert straight.heard == ["one"] * 3 + ["two"] * 3
    assert len({id(message) for message in straight.messages}) == 2
    assert asyncio.all_tasks() <= before
    for socket in sockets:
        await _leave(socket)


async def test_a_frame_never_overtakes_what_waits(
    layer_in_use: PostgresChannelLayer, straight: type[Straight]
) -> None:
    """Neither a message that is being handled, nor a frame that was not taken."""
    socket = await _connected(straight)
    await layer_in_use.group_send_many(
        [
            ("room", {"type": "push", "frame": "one"}),
            ("room", {"type": "slow.type"}),
            ("room", {"type": "push", "frame": "two"}),
        ]
    )
    await asyncio.wait_for(straight.began.wait(), DEADLINE)
    await layer_in_use.group_send("room", {"type": "push", "frame": "three"})
    await layer_in_use.check()  # by now it has arrived
    assert straight.heard == ["one"]
    straight.go_on.set()
    await until(lambda: len(straight.heard) == 4)
    await layer_in_use.group_send_many(
        [("room", {"type": "push", "frame": frame}) for frame in ("later", "four")]
    )
    await until(lambda: len(straight.heard) == 6)
    await layer_in_use.group_send("room", {"type": "push", "frame": "five"})
    await until(lambda: len(straight.heard) == 7)
    assert straight.heard == [
        *("one", "handled", "pushed two", "pushed three"),
        *("pushed later", "pushed four", "five"),
    ]
    await _leave(socket)


async def test_a_frame_passes_while_a_command_of_the_client_is_handled_and_a_message_waits(
    layer_in_use: PostgresChannelLayer, straight: type[Straight]
) -> None:
    socket = await _connected(straight)
    await socket.send_input({"type": "websocket.receive", "text": "slow"})
    await asyncio.wait_for(straight.began.wait(), DEADLINE)
    await layer_in_use.group_send("room", {"type": "push", "frame": "one"})
    await until(lambda: straight.heard == ["one"])
    await layer_in_use.group_send("room", {"type": "own.type", "n": 1})
    await layer_in_use.check()  # by now it has arrived
    assert socket.output_queue.empty()
    straight.go_on.set()
    assert await _text(socket) == "handled 1"
    assert straight.heard == ["one", "handled"]
    await _leave(socket)


@pytest.mark.parametrize("message", [{"type": "push", "frame": "broken"}, {"type": "nobodys"}])
async def test_a_message_that_fails_ends_its_consumer_and_no_other(
    layer_in_use: PostgresChannelLayer, straight: type[Straight], message: dict[str, Any]
) -> None:
    broken, whole = await _connected(straight), await _connected()
    await layer_in_use.group_send("room", message)
    with pytest.raises((ZeroDivisionError, ValueError)):
        await broken.wait(DEADLINE)
    if message["type"] == "push":
        assert await _text(whole) == "broken"
        await _leave(whole)
    else:
        with pytest.raises(ValueError, match="No handler"):
            await whole.wait(DEADLINE)
    assert not layer_in_use._listener().channels.mailboxes


async def test_a_socket_that_leaves_while_a_message_is_handled_leaves_nothing_behind(
    layer_in_use: PostgresChannelLayer, straight: type[Straight]
) -> None:
    socket = await _connected(straight)
    await layer_in_use.group_send("room", {"type": "slow.type"})
    await asyncio.wait_for(straight.began.wait(), DEADLINE)
    socket.future.cancel()
    await asyncio.wait([socket.future], timeout=DEADLINE)
    listener = layer_in_use._listener()
    assert not listener.channels.mailboxes
    assert asyncio.all_tasks() - {asyncio.current_task()} == {listener._task}


async def test_a_slow_reader_is_told_of_a_gap_after_what_it_could_keep(
    make_layer: MakeLayer, straight: type[Straight]
) -> None:
    layer = make_layer(capacity=2, gap_type="own.type")
    before = layers.channel_layers.set("default", layer)
    try:
        socket = await _connected(straight)
        await layer.group_send("room", {"type": "slow.type"})
        await asyncio.wait_for(straight.began.wait(), DEADLINE)
        for number in range(4):
            await layer.group_send("room", {"type": "push", "frame": str(number)})
        await layer.check()
        straight.go_on.set()
        with pytest.raises(KeyError):  # a gap has no number
            await socket.wait(DEADLINE)
        assert straight.heard == ["handled", "pushed 0", "pushed 1"]
    finally:
        if before is None:
            del layers.channel_layers.backends["default"]
        else:
            layers.channel_layers.set("default", before)


async def test_on_another_layer_frames_and_messages_go_the_ordinary_way() -> None:
    layer = InMemoryChannelLayer()
    before = layers.channel_layers.set("default", layer)
    try:
        socket = await _connected()
        await layer.group_send("room", {"type": "push", "frame": "frame"})
        await layer.group_send("room", {"type": "own.type", "n": 1})
        assert [await _text(socket) for _ in range(2)] == ["frame", "handled 1"]
        await _leave(socket)
    finally:
        if before is None:
            del layers.channel_layers.backends["default"]
        else:
            layers.channel_layers.set("default", before)
