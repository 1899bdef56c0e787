"""One socket's life: its state, its tasks, what waits to be sent, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any

import structlog
from pydantic import BaseModel

from chat.socket import registry
from chat.socket.send_queue import SendQueue, TooSlow
from protocol.commands import ErrorFrame
from protocol.errors import ErrorCode
from protocol.limits import CloseCode

logger = structlog.get_logger(__name__)

# Seconds a closing socket may take to hear why.
_CLOSE_TIMEOUT = 2.0


class State(Enum):
    """Where a socket stands; it only ever moves on."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class WrongState(RuntimeError):
    """A socket was asked for what it cannot do in its state: a mistake of ours."""

    def __init__(self, expected: State, received: State) -> None:
        super().__init__(f"A socket that should be {expected.value} is {received.value}.")


class Connection:
    """What carries frames to one client, whatever they say.

    `send` takes an encoded frame, `close` a code and a reason; `abort` drops a connection whose
    client does not even read that it is to close.
    """

    def __init__(
        self,
        *,
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int, str], Awaitable[None]],
        abort: Callable[[], None],
    ) -> None:
        self.state = State.CONNECTING
        self.send_queue = SendQueue(self._transmit)
        self._send = send
        self._close = close
        self._abort = abort
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ending(self) -> bool:
        """Whether nothing that the client says counts any more."""
        return self.state in (State.CLOSING, State.CLOSED)

    def open(self) -> None:
        """Begin to send. Raises WrongState if it was open before."""
        if self.state is not State.CONNECTING:
            raise WrongState(State.CONNECTING, self.state)
        self.state = State.OPEN
        self.spawn(self.send_queue.run())

    def put(self, frame: BaseModel) -> None:
        """Queue a frame; a client for whom too much waits already is sent away."""
        self._queue(lambda: self.send_queue.put(frame.model_dump_json()))

    def put_event(self, event: dict[str, Any]) -> None:
        """Queue a published event (see `core.publishing`); as `put`."""
        self._queue(lambda: self.send_queue.put_event(event))

    def put_error(
        self, command_id: str | None, code: ErrorCode, message: str, details: dict[str, Any]
    ) -> None:
        """Queue the answer to a command that was refused; as `put`."""
        self.put(ErrorFrame(id=command_id, code=code, message=message, details=details))

    def _queue(self, put: Callable[[], None]) -> None:
        if self.ending:
            return
        try:
            put()
        except TooSlow:
            self.spawn(self.shut(CloseCode.TOO_SLOW, "too_slow"))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task of this socket, which ends with it; the unexpected is logged, closes 1011."""
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            if not self.ending:
                logger.exception("socket_failed")
                await self.shut(CloseCode.INTERNAL, "internal")

    async def shut(self, code: CloseCode, reason: str) -> None:
        """Send what waits, then close; what the client says meanwhile is not heard any more."""
        if self.ending:
            return
        self.state = State.CLOSING
        registry.CLOSES.labels(int(code)).inc()
        if code != CloseCode.TOO_SLOW:
            await self.send_queue.drained(_CLOSE_TIMEOUT)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._close(int(code), reason)
        except TimeoutError:
            # The client does not read, so no closing handshake would ever end.
            logger.info("socket_aborted", code=int(code))
            self._abort()

    def ended(self) -> None:
        """Note that the client is gone: end every task."""
        self.state = State.CLOSED
        for task in self._tasks:
            task.cancel()

    async def _transmit(self, text: str) -> None:
        if self.state is State.CLOSED:
            return
        try:
            await self._send(text)
        except OSError:
            # The client has gone; that it has is on its way to us.
            self.state = State.CLOSED
            return
        registry.FRAMES.inc()
