"""Uvicorn's protocols: HTTP with a deadline; WebSocket, lighter, with a straight way for frames."""

import asyncio
import logging
from collections import OrderedDict, deque
from typing import Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from protocol.limits import HANDSHAKE_SECONDS

# Bytes the server buffers for one client before the sender has to wait; what waits beyond
# that waits in our own queue, which knows what may give way.
WRITE_BUFFER = 32 * 1024

_logger = logging.getLogger("uvicorn.error.websocket")


class HeaderDeadline(asyncio.Protocol):
    """A base before Uvicorn's own: it drops whoever takes too long over the head of a request.

    There are HANDSHAKE_SECONDS for it from when the connection was made, and again from each
    answer. Uvicorn itself waits for ever, unless nothing at all follows an answer.
    """

    # Uvicorn's.
    transport: asyncio.Transport
    cycle: Any
    # In seconds of the loop's time.
    due: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        super().connection_made(transport)
        _waiting.add(self)

    def on_response_complete(self) -> None:
        """Wait for the next one, which may be there already."""
        _waiting.add(self)
        super().on_response_complete()  # type: ignore[misc]

    def handle_websocket_upgrade(self, *args: Any) -> None:
        """Leave the connection to its socket."""
        _waiting.discard(self)
        super().handle_websocket_upgrade(*args)  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        _waiting.discard(self)
        super().connection_lost(exc)

    @property
    def answering(self) -> bool:
        """Whether a request is there, and its answer is not finished."""
        return self.cycle is not None and not self.cycle.response_complete


class HandshakeProtocol(HeaderDeadline, AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Chosen by `uvicorn --http chatire.websocket:HandshakeProtocol`; as fast as what is there."""


class _Waiting:
    """The connections whose request has not come, with one timer for them all."""

    def __init__(self) -> None:
        # All have the same time, so the first is due first.
        self._connections: OrderedDict[HeaderDeadline, None] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: HeaderDeadline) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # The connections of a loop that has ended are gone with it.
            self._loop, self._timer = loop, None
            self._connections.clear()
        connection.due = loop.time() + HANDSHAKE_SECONDS
        self._connections[connection] = None
        self._connections.move_to_end(connection)
        if self._timer is None:
            self._timer = loop.call_at(connection.due, self._drop_late, loop)

    def discard(self, connection: HeaderDeadline) -> None:
        self._connections.pop(connection, None)

    def _drop_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._connections:
            connection = next(iter(self._connections))
            if connection.due > loop.time():
                self._timer = loop.call_at(connection.due, self._drop_late, loop)
                return
            del self._connections[connection]
            # After its answer it is back.
            if not connection.answering:
                connection.transport.abort()


_waiting = _Waiting()


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
        # Of its own, because both say a line for each socket that opens.
        self.logger = self.conn.logger = _logger
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
