"""Uvicorn's WebSocket protocol, with a way to drop a client that has stopped reading."""

import asyncio
from typing import cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Bytes the server buffers for one client before the sender has to wait; what waits beyond
# that waits in our own outbox, which knows what may give way.
WRITE_BUFFER = 32 * 1024


class SocketProtocol(WebSocketsSansIOProtocol):
    """Chosen by `uvicorn --ws chatire.websocket:SocketProtocol`.

    A closing handshake waits behind everything already buffered, so towards a client that does
    not read it never ends. `scope["extensions"]["chatire.abort"]()` drops the connection.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep little in the transport's buffer."""
        super().connection_made(transport)
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=WRITE_BUFFER)

    async def run_asgi(self) -> None:
        """Offer the abort, then run the application."""
        extensions = cast(dict[str, object], self.scope.setdefault("extensions", {}))
        extensions["chatire.abort"] = self.transport.abort
        await super().run_asgi()
