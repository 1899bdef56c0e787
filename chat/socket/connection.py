"""One socket's life: its state, its tasks, what waits to be sent, and how it ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum
from typing import Any

import structlog
from pydantic import BaseModel

from chat.socket import registry
from chat.socket.clock import clock
from chat.socket.send_queue import SendQueue, TooSlow
from protocol.commands import ErrorFrame
from protocol.errors import ErrorCode
from protocol.limits import CloseCode

logger = structlog.get_logger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]

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

    `send` takes ASGI's messages. Of the scope's `extensions`, those of `chatire.websocket` are
    used where the server offers them.
    """

    # The clock looks at every tick, while something waits.
    due = 0.0

    def __init__(self, send: Send, extensions: Mapping[str, Any]) -> None:
        self.state = State.CONNECTING
        self.send_queue = SendQueue(
            self._transmit,
            self._wake,
            extensions.get("chatire.write"),
            extensions.get("chatire.buffered"),
        )
        self._send = send
        self._abort: Callable[[], None] | None = extensions.get("chatire.abort")
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
        if len(self.send_queue):
            self._wake()

    def put(self, frame: BaseModel) -> None:
        """Send a frame in its turn; a client for whom too much waits already is sent away."""
        if self.ending:
            return
        try:
            self.send_queue.put(frame.model_dump_json())
        except TooSlow:
            self._too_slow()

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Send a published event (see `core.publishing`); as `put`."""
        if self.ending:
            return
        try:
            self.send_queue.put_event(event)
        except TooSlow:
            self._too_slow()

    def put_error(
        self, command_id: str | None, code: ErrorCode, message: str, details: dict[str, Any]
    ) -> None:
        """Send the answer to a command that was refused; as `put`."""
        self.put(ErrorFrame(id=command_id, code=code, message=message, details=details))

    def _too_slow(self) -> None:
        self.spawn(self.shut(CloseCode.TOO_SLOW, "too_slow"))

    def _wake(self) -> None:
        if self.state is not State.CONNECTING:
            self.spawn(self._send_waiting())

    async def _send_waiting(self) -> None:
        clock.watch(self)
        try:
            await self.send_queue.run()
        finally:
            clock.forget(self)

    def ring(self, now: float) -> None:
        """Send a client away that has taken nothing for too long."""
        if self.send_queue.stuck(now):
            clock.forget(self)
            self._too_slow()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task of this socket, which ends with it; the unexpected is logged, closes 1011."""
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before it begins never comes to await it.
        task.add_done_callback(lambda _: work.close())

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
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.send_queue.drained(), _CLOSE_TIMEOUT)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._send({"type": "websocket.close", "code": int(code), "reason": reason})
        except TimeoutError:
            # The client does not read, so no closing handshake would ever end.
            logger.info("socket_aborted", code=int(code))
            if self._abort is not None:
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
            await self._send({"type": "websocket.send", "text": text})
        except OSError:
            # The client has gone; that it has is on its way to us.
            self.state = State.CLOSED
            return
        registry.traffic.frames += 1
