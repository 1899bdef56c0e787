"""A socket's commands: read, carried out one after another, each with its one answer."""

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from django.db.utils import InterfaceError, OperationalError
from structlog.contextvars import bound_contextvars
from uuid_utils.compat import uuid7

from channels_pgnotify import LayerError
from chat.socket.connection import Connection
from core.errors import RETRY_AFTER, ChatireError
from protocol import limits
from protocol.commands import BadCommand, parse_command
from protocol.errors import ErrorCode
from protocol.frames import Command
from protocol.limits import CloseCode

logger = structlog.get_logger(__name__)

# The database, or the way of events through it, is away for a moment.
UNAVAILABLE = (OperationalError, InterfaceError, LayerError)


class Unreadable(Exception):
    """What came is no frame of any protocol of ours; the socket closes."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


def decode(text: str | None) -> Any:
    """Return the JSON value of a text frame (None: a binary one). Raises Unreadable."""
    if text is None:
        raise Unreadable(CloseCode.NOT_JSON, "not_json")
    # A character takes four bytes at most, so most frames need not be encoded to be measured.
    if len(text) * 4 > limits.MAX_FRAME_BYTES and _size(text) > limits.MAX_FRAME_BYTES:
        raise Unreadable(CloseCode.TOO_BIG, "frame_too_big")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable(CloseCode.NOT_JSON, "not_json") from None


def _size(text: str) -> int:
    return len(text.encode()) if len(text) <= limits.MAX_FRAME_BYTES else len(text)


class CommandQueue:
    """What a client asked for and has no answer to yet, a bounded number.

    They are carried out in order, by a task that exists only while there are some.
    """

    __slots__ = ("_connection", "_handle", "_waiting")

    def __init__(
        self, connection: Connection, handle: Callable[[Command], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._handle = handle
        # With the one that is being carried out; None while there is none.
        self._waiting: deque[Command] | None = None

    def put(self, frame: Any) -> None:
        """Queue the command that a decoded frame is, or answer why it is none."""
        try:
            command = parse_command(frame)
        except BadCommand as error:
            self._connection.put_error(
                error.command_id,
                error.code,
                "The frame is not a command of this protocol.",
                {"fields": error.fields},
            )
            return
        if self._waiting is None:
            self._waiting = deque([command])
            self._connection.spawn(self._run(self._waiting))
            return
        if len(self._waiting) > limits.MAX_WAITING_COMMANDS:
            self._connection.put_error(
                command.id,
                ErrorCode.TOO_MANY_COMMANDS,
                "Wait for the answers to earlier commands.",
                {},
            )
            return
        self._waiting.append(command)

    async def _run(self, waiting: deque[Command]) -> None:
        while waiting:
            # An answer may be large; who does not take one gets no more of them.
            await self._connection.send_queue.drained()
            await self._carry_out(waiting[0])
            waiting.popleft()
        self._waiting = None

    async def _carry_out(self, command: Command) -> None:
        try:
            # Follows what this command starts into the worker's log.
            with bound_contextvars(request_id=str(uuid7())):
                await self._handle(command)
                logger.debug("command", type=command.type)
        except ChatireError as error:
            self._connection.put_error(command.id, error.code, error.message, error.details)
        except UNAVAILABLE:
            self._connection.put_error(
                command.id,
                ErrorCode.UNAVAILABLE,
                "The service is briefly unavailable. Try again.",
                {"retry_after": RETRY_AFTER},
            )
