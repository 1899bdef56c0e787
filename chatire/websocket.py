"""Uvicorn's WebSocket protocol, with a straight way for finished frames, and a lighter one."""

import asyncio
import logging
from collections import deque
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Bytes the server buffers for one client before the sender has to wait; what waits beyond
# that waits in our own queue, which knows what may give way.
WRITE_BUFFER = 32 * 1024

_logger = logging.getLogger("uvicorn.error.websocket")


class SocketProtocol(WebSocketsSansIOProtocol):
    """Chosen by `uvicorn --ws chatire.websocket:SocketProtocol`.

    `scope["extensions"]` offers what ASGI has not:

    - `chatire.write(frame) -> bool`: write the bytes of a whole WebSocket frame at once; False,
      and nothing is written, while the socket is not open or the client takes no more;
    - `chatire.buffered() -> int`: how many bytes the client has not taken yet;
    - `chatire.abort()`: drop the connection. A closing handshake waits behind everything already
      buffered, so towards a client that does not read it never ends.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of its own, because it says one line for each socket that opens.
        self.logger = _logger
        # An idle socket's are four kilobytes as asyncio has them.
        self.queue = cast("asyncio.Queue[Any]", _Inbox())
        self.writable = cast(asyncio.Event, _Gate())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep little in the transport's buffer."""
        super().connection_made(transport)
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=WRITE_BUFFER)

    async def run_asgi(self) -> None:
        """Offer the extensions, then run the application."""
        extensions = cast(dict[str, object], self.scope.setdefault("extensions", {}))
        extensions["chatire.write"] = self.write_frame
        extensions["chatire.buffered"] = self.transport.get_write_buffer_size
        extensions["chatire.abort"] = self.transport.abort
        await super().run_asgi()

    def write_frame(self, frame: bytes) -> bool:
        """Write a frame as it is, if that is possible now."""
        if (
            self.close_sent
            or not self.handshake_complete
            or not self.writable.is_set()
            or self.transport.is_closing()
        ):
            return False
        self.transport.write(frame)
        return True


class _Inbox:
    """What an `asyncio.Queue` does here, for one reader."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: deque[Any] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put_nowait(self, item: Any) -> None:
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Any:
        while self._items is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item = self._items.popleft()
        if not self._items:
            self._items = None
        return item

    def empty(self) -> bool:
        return self._items is None


class _Gate:
    """What an `asyncio.Event` does here."""

    __slots__ = ("_open", "_waiters")

    def __init__(self) -> None:
        self._open = True
        self._waiters: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        return self._open

    def set(self) -> None:
        self._open = True
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        self._open = False

    async def wait(self) -> bool:
        while not self._open:
            if self._waiters is None:
                self._waiters = []
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return True
