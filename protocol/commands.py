"""What a client sends, how it is read, and what it is answered with."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter, ValidationError

from protocol.fields import ClientId, CommandId, Content, Frame, ModelName, Seq, Text
from protocol.states import Changes, MessageState


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


class Command(Frame):
    """Anything a client sends. `id` comes back in its one ack or error."""

    type: str
    id: CommandId


class Subscribe(Command):
    """Follow a conversation from `since` (null: from a first load)."""

    type: Literal["subscribe"]
    conversation: UUID
    since: Seq | None = None


class Unsubscribe(Command):
    """Stop following a conversation."""

    type: Literal["unsubscribe"]
    conversation: UUID


class SendMessage(Command):
    """Say something; the same `client_id` twice is one message."""

    type: Literal["message.send"]
    conversation: UUID
    client_id: ClientId
    content: Content
    parent: UUID | None = None
    assistant: Annotated[Text, Field(max_length=60)] | None = None
    model: ModelName | None = None


class EditMessage(Command):
    """Reword one's own message: a branch of its own in an assistant conversation, else in place.

    `client_id` is that of the message a branch makes; the same one twice is one branch.
    """

    type: Literal["message.edit"]
    message: UUID
    client_id: ClientId
    content: Content


class StopReply(Command):
    """Stop a reply, from any device; its text so far is kept."""

    type: Literal["reply.stop"]
    message: UUID


class RegenerateReply(Command):
    """Make a sibling of a reply: another answer to the same turn."""

    type: Literal["reply.regenerate"]
    message: UUID


class ContinueReply(Command):
    """Let a reply that ended before its time go on from where it ended."""

    type: Literal["reply.continue"]
    message: UUID


class Read(Command):
    """Mark everything up to `seq` as read."""

    type: Literal["read"]
    conversation: UUID
    seq: Seq


class Typing(Command):
    """Say that one is typing, or no longer."""

    type: Literal["typing"]
    conversation: UUID
    active: bool


class Auth(Command):
    """Renew the socket's token in place."""

    type: Literal["auth"]
    token: Annotated[str, Field(min_length=1, max_length=8192)]


class Ping(Command):
    """Answered by `pong`."""

    type: Literal["ping"]


AnyCommand = Annotated[
    Subscribe
    | Unsubscribe
    | SendMessage
    | EditMessage
    | StopReply
    | RegenerateReply
    | ContinueReply
    | Read
    | Typing
    | Auth
    | Ping,
    Field(discriminator="type"),
]
_commands: TypeAdapter[AnyCommand] = TypeAdapter(AnyCommand)


class BadCommand(Exception):
    """A frame that is JSON but no command. `reason` lists what is wrong with it, field by field."""

    def __init__(self, code: str, command_id: str | None, fields: list[dict[str, str]]) -> None:
        self.code = code
        self.command_id = command_id
        self.fields = fields
        super().__init__(code)


def parse_command(frame: Any) -> AnyCommand:
    """Return the command that a decoded frame is.

    Raises BadCommand with code `unknown_type` or `invalid`; it names fields and rules, and
    never repeats what was sent.
    """
    try:
        return _commands.validate_python(frame)
    except ValidationError as error:
        raw_id = frame.get("id") if isinstance(frame, Mapping) else None
        command_id = raw_id if isinstance(raw_id, str) and 0 < len(raw_id) <= 64 else None
        problems = validation_fields(error)
        kinds = {problem["type"] for problem in error.errors(include_input=False)}
        unknown = kinds & {"union_tag_invalid", "union_tag_not_found", "model_attributes_type"}
        raise BadCommand("unknown_type" if unknown else "invalid", command_id, problems) from None


def validation_fields(error: ValidationError) -> list[dict[str, str]]:
    """Return what a validation error objects to, without the values that were sent."""
    fields: list[dict[str, str]] = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        path = [str(part) for part in problem["loc"]]
        if path and path[0] in _COMMAND_TYPES:
            path = path[1:]
        fields.append({"field": ".".join(path), "code": problem["type"], "message": problem["msg"]})
    return fields


_COMMAND_TYPES: Final = frozenset(
    {
        "subscribe",
        "unsubscribe",
        "message.send",
        "message.edit",
        "reply.stop",
        "reply.regenerate",
        "reply.continue",
        "read",
        "typing",
        "auth",
        "ping",
    }
)
