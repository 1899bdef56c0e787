"""What a command is answered with."""

from typing import Any, Literal

from chat.protocol.fields import Frame
from chat.protocol.states import Changes, MessageState


class Ack(Frame):
    """The one answer to a command that was carried out."""

    type: Literal["ack"] = "ack"
    id: str


class SubscribeAck(Ack):
    """Everything needed to follow a conversation from here."""

    changes: Changes


class SendMessageAck(Ack):
    """The stored message, and the reply that was started, if one was."""

    message: MessageState
    reply: MessageState | None


class MessageAck(Ack):
    """The message as it is now."""

    message: MessageState


class AuthAck(Ack):
    """When the new token expires, in seconds since the epoch."""

    expires_at: float


class Pong(Frame):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: str


class HeartbeatAnswer(Frame):
    """What a client sends when the server's `ping` finds it with nothing to say. No answer."""

    type: Literal["pong"]


class ErrorFrame(Frame):
    """The one answer to a command that was refused. `id` is null if none could be read."""

    type: Literal["error"] = "error"
    id: str | None
    code: str
    message: str
    details: dict[str, Any]
