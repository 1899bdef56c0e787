"""What ends a socket by the clock: a client that went silent, a token that ran out."""

import time

from chat.socket.clock import clock
from chat.socket.connection import Connection
from protocol import limits
from protocol.events import ServerPing
from protocol.limits import CloseCode


class Heartbeat:
    """The pulse of one socket's client. `token_expires_at` is in seconds since the epoch."""

    __slots__ = ("_connection", "_heard_at", "_pinged_at", "_token_expires_at", "due")

    def __init__(self, connection: Connection, token_expires_at: float) -> None:
        self._connection = connection
        self._token_expires_at = token_expires_at
        self._heard_at = time.monotonic()
        self._pinged_at: float | None = None
        self.due = 0.0

    def start(self) -> None:
        """Let the clock watch over the client."""
        clock.watch(self)

    def stop(self) -> None:
        """The client is gone."""
        clock.forget(self)

    def heard(self) -> None:
        """Note that the client sent something."""
        self._heard_at = time.monotonic()

    def renew(self, token_expires_at: float) -> None:
        """Take another token's expiry."""
        self._token_expires_at = token_expires_at
        self.due = 0.0

    def ring(self, now: float) -> None:
        """Ping a client that is silent; close on one that stays so, or whose token ran out."""
        if self._pinged_at is not None and self._heard_at >= self._pinged_at:
            self._pinged_at = None
        token_left = self._token_expires_at + limits.TOKEN_GRACE_SECONDS - time.time()
        if token_left <= 0:
            self._end(CloseCode.AUTHENTICATE, "token_expired")
            return
        if self._pinged_at is None and now >= self._heard_at + limits.HEARTBEAT_SECONDS:
            self._connection.put(ServerPing())
            self._pinged_at = now
        if self._pinged_at is None:
            beat = self._heard_at + limits.HEARTBEAT_SECONDS
        else:
            beat = self._pinged_at + limits.HEARTBEAT_GRACE_SECONDS
            if now >= beat:
                self._end(CloseCode.NO_HEARTBEAT, "no_heartbeat")
                return
        self.due = min(beat, now + token_left)

    def _end(self, code: CloseCode, reason: str) -> None:
        self.stop()
        self._connection.spawn(self._connection.shut(code, reason))
