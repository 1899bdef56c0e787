"""What ends a socket by the clock: a client that went silent, a token that ran out."""

import asyncio
import time
from collections.abc import Callable

from protocol import limits
from protocol.limits import CloseCode


class Heartbeat:
    """The clock of one socket. `token_expires_at` is in seconds since the epoch."""

    def __init__(self, token_expires_at: float) -> None:
        self._token_expires_at = token_expires_at
        self._heard_at = time.monotonic()
        self._renewed = asyncio.Event()

    def heard(self) -> None:
        """Note that the client sent something."""
        self._heard_at = time.monotonic()

    def renew(self, token_expires_at: float) -> None:
        """Take another token's expiry."""
        self._token_expires_at = token_expires_at
        self._renewed.set()

    async def watch(self, ping: Callable[[], None]) -> tuple[CloseCode, str]:
        """Ping a client that is silent; return when the socket must close, with code and reason."""
        pinged_at: float | None = None
        while True:
            now = time.monotonic()
            if pinged_at is not None and self._heard_at >= pinged_at:
                pinged_at = None
            token_left = self._token_expires_at + limits.TOKEN_GRACE_SECONDS - time.time()
            if token_left <= 0:
                return CloseCode.AUTHENTICATE, "token_expired"
            if pinged_at is None and now >= self._heard_at + limits.HEARTBEAT_SECONDS:
                ping()
                pinged_at = now
            if pinged_at is None:
                beat_left = self._heard_at + limits.HEARTBEAT_SECONDS - now
            else:
                beat_left = pinged_at + limits.HEARTBEAT_GRACE_SECONDS - now
                if beat_left <= 0:
                    return CloseCode.NO_HEARTBEAT, "no_heartbeat"
            self._renewed.clear()
            try:
                await asyncio.wait_for(self._renewed.wait(), max(0.01, min(beat_left, token_left)))
            except TimeoutError:
                continue
