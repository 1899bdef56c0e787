from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]


class PushMixin:
    """For an AsyncConsumer that passes finished frames on to its socket.

    A message `{"type": "push", "frame": "<text>", …}` from the channel layer is sent as it is, from
    within `channel_receive`. So it needs none of what Channels does for a handler: a task for each
    message, a wait over all sources, and a change of threads to close old database connections,
    which together cost more than the rest of its way. Any other message is dispatched as ever.

        class ChatConsumer(PushMixin, AsyncJsonWebsocketConsumer): ...

    Frames and other messages keep their order, as far as the start of a handler goes. But a frame
    may be sent while a handler of the same consumer runs, as it may from another task.
    """

    push_type = "push"

    _layer_receive: Receive

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)  # type: ignore[misc]
        finally:
            # Nobody will read the channel again; a layer that can forget it at once should.
            close_channel = getattr(getattr(self, "channel_layer", None), "close_channel", None)
            name = getattr(self, "channel_name", None)
            if close_channel is not None and name is not None:
                close_channel(name)

    async def pushed(self, message: dict[str, Any]) -> None:
        """Send the frame; override to see it first, or to send something else or nothing."""
        await self.base_send({"type": "websocket.send", "text": message["frame"]})  # type: ignore[attr-defined]

    @property
    def channel_receive(self) -> Receive:
        """What AsyncConsumer awaits for the next message to dispatch."""
        return self._receive_to_dispatch

    @channel_receive.setter
    def channel_receive(self, receive: Receive) -> None:
        self._layer_receive = receive

    async def _receive_to_dispatch(self) -> dict[str, Any]:
        while True:
            message = await self._layer_receive()
            if message["type"] != self.push_type:
                return message
            await self.pushed(message)
