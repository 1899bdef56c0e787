import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels import layers
from channels.generic.websocket import AsyncWebsocketConsumer

from channels_pgnotify import PostgresChannelLayer, PushMixin

from .conftest import DEADLINE


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


async def _connected() -> ApplicationCommunicator:
    socket = ApplicationCommunicator(Consumer.as_asgi(), {"type": "websocket", "path": "/"})
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
