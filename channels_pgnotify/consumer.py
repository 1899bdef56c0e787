from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class PushMixin:
    """For an AsyncConsumer that passes finished frames on to its socket.

    A message `{"type": "push", "frame": "<text>", …}` from the channel layer is sent as it is, with
    none of what Channels does for a handler: a task for each message, a wait over all sources, and
    a change of threads to close old database connections, which together cost more than the rest
    of its way. Any other message is dispatched as ever.

        class ChatConsumer(PushMixin, AsyncJsonWebsocketConsumer): ...

    Frames and other messages keep their order, as far as the start of a handler goes. But a frame
    may be sent while a handler of the same consumer runs, as it may from another task.

    A consumer that overrides `push` takes frames without a task's waking up for each. On a layer
    with `deliver_to`, as `PostgresChannelLayer` has it, it is a single task, which awaits its
    client, and a second one only while something else waits for it.
    """

    push_type = "push"

    _layer_receive: Receive
    # Handlers run one at a time, whoever sent the message.
    _turn: asyncio.Lock
    _main: asyncio.Task[Any] | None
    _handling: asyncio.Task[None] | None = None
    _failure: BaseException | None = None

    def push(self, message: dict[str, Any]) -> bool:
        """Pass a pushed message on at once, if that takes no waiting; False leaves it to `pushed`.

        To be overridden, or never called. The layer calls it for each socket in turn: it must not
        block, and not change the message, which they share.
        """
        return False

    async def pushed(self, message: dict[str, Any]) -> None:
        """Send the frame; override to see it first, or to send something else or nothing."""
        await self.base_send({"type": "websocket.send", "text": message["frame"]})

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        layer = get_channel_layer(self.channel_layer_alias)  # type: ignore[attr-defined]
        try:
            if type(self).push is not PushMixin.push and hasattr(layer, "deliver_to"):
                await self._serve(layer, scope, receive, send)
            else:
                await super().__call__(scope, receive, send)  # type: ignore[misc]
        finally:
            # Nobody will read the channel again; a layer that can forget it at once should.
            close_channel = getattr(layer, "close_channel", None)
            name = getattr(self, "channel_name", None)
            if close_channel is not None and name is not None:
                close_channel(name)

    # In a single task

    async def _serve(self, layer: Any, scope: Any, receive: Receive, send: Send) -> None:
        """Do what AsyncConsumer.__call__ does."""
        self.scope, self.base_send, self.channel_layer = scope, send, layer
        self._turn, self._main = asyncio.Lock(), asyncio.current_task()
        self.channel_name = await layer.new_channel()
        layer.deliver_to(self.channel_name, self)
        try:
            while True:
                message = await receive()
                async with self._turn:
                    await self.dispatch(message)  # type: ignore[attr-defined]
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            if not isinstance(self._failure, StopConsumer):
                raise self._failure from None
        finally:
            self._main = None
            if self._handling is not None:
                self._handling.cancel()
                await asyncio.wait([self._handling])

    def take(self, message: dict[str, Any]) -> bool:
        """For the layer: take a message that arrives, unless it must wait."""
        if self._handling is not None or message["type"] != self.push_type or self._main is None:
            return False
        try:
            return self.push(message)
        except Exception as error:  # noqa: BLE001 (raised again, in the main task)
            self._fail(error)
            return True

    def look(self) -> None:
        """For the layer: something waits."""
        if self._handling is None and self._main is not None:
            self._handling = asyncio.create_task(self._handle_waiting())

    async def _handle_waiting(self) -> None:
        try:
            message = self.channel_layer.receive_nowait(self.channel_name)
            while message is not None:
                if message["type"] == self.push_type:
                    await self.pushed(message)
                else:
                    async with self._turn:
                        await self.dispatch(message)  # type: ignore[attr-defined]
                message = self.channel_layer.receive_nowait(self.channel_name)
        except Exception as error:  # noqa: BLE001 (raised again, in the main task)
            self._fail(error)
        finally:
            self._handling = None

    def _fail(self, error: Exception) -> None:
        """End the consumer with an error that was raised outside its main task."""
        if self._main is not None and self._failure is None:
            self._failure = error
            self._main.cancel()

    # In Channels' own two tasks

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
