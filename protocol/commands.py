"""What a client sends, how it is read, and what it is answered with.

What a command shares with a REST request is a Body of its own, which both are read as.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, Union
from uuid import UUID

from pydantic import Field, TypeAdapter, ValidationError

from protocol.errors import ErrorCode
from protocol.fields import (
    ClientId,
    Content,
    Emoji,
    Language,
    ModelName,
    RoomsCursor,
    Seq,
    Slug,
    Why,
    field_errors,
    member_errors,
)
from protocol.frames import COMMANDS, Ack, Body, Command, Frame, Told
from protocol.limits import MAX_WATCHED
from protocol.states import (
    Changes,
    MessageState,
    MineState,
    OwnTallyState,
    PersonChanges,
    PresenceState,
)

# --- Bodies that REST and the socket share ---------------------------------------------------


class NewMessage(Body):
    """A message to send; the same `client_id` twice is one message."""

    client_id: ClientId
    content: Content
    parent: UUID | None = None
    assistant: Slug | None = None
    model: ModelName | None = None
    language: Language = ""


class NewReply(NewMessage):
    """A message to say in the thread of another, or in the room as well."""

    also_in_room: bool = Field(
        default=False, description="Say it in the room too, where it quotes the other."
    )


class MessagePatch(Body):
    """Another wording; `client_id` is that of the message a branch makes."""

    client_id: ClientId
    content: Content


class Removal(Body):
    """Why a moderator deletes what another wrote; for the audit log."""

    reason: Why = ""


class ReadMark(Body):
    """How far one has read: the `number` of a message, or of the conversation."""

    number: Seq


# --- Answers ---------------------------------------------------------------------------------


class SubscribeAck(Ack):
    """Everything needed to follow a conversation from here."""

    changes: Changes


class SentMessageBody(Body):
    """The stored message, and the reply that was started, if one was."""

    message: MessageState
    reply: MessageState | None


class SendMessageAck(SentMessageBody, Ack):
    """The stored message, and the reply that was started, if one was."""


class MessageBody(Body):
    """A message as it is now."""

    message: MessageState


class MessageAck(MessageBody, Ack):
    """The message as it is now."""


class TallyBody(Body):
    """What is counted under a message, with one's own as it is about to be counted."""

    tally: OwnTallyState


class TallyAck(TallyBody, Ack):
    """What is counted under the message, with one's own as it is about to be counted."""


class MineBody(Body):
    """One's own view of the conversation as it is now."""

    mine: MineState


class ReadAck(MineBody, Ack):
    """One's own view of the conversation as it is now."""


class SyncAck(Ack):
    """What brings the client's list up to date."""

    changes: PersonChanges


class WatchAck(Ack):
    """How these people are now, without those whom one may not see."""

    people: list[PresenceState]


class AuthAck(Ack):
    """When the new token expires, in seconds since the epoch."""

    expires_at: float


class Pong(Told):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: str


class HeartbeatAnswer(Frame):
    """What a client sends when the server's `ping` finds it with nothing to say. No answer."""

    type: Literal["pong"]


class ErrorFrame(Told):
    """The one answer to a command that was refused. `id` is null if none could be read."""

    type: Literal["error"] = "error"
    id: str | None
    code: str
    message: str
    details: dict[str, Any]


# --- Commands --------------------------------------------------------------------------------


class Subscribe(Command):
    """Follow a conversation from `since` (null: from a first load)."""

    answer: ClassVar = SubscribeAck
    rest: ClassVar = "GET /api/conversations/{conversation}/changes/"

    type: Literal["subscribe"]
    conversation: UUID
    since: Seq | None = Field(default=None, description="the last seq you know; null: from nothing")


class Unsubscribe(Command):
    """Stop following a conversation."""

    type: Literal["unsubscribe"]
    conversation: UUID


class SendMessage(NewMessage, Command):
    """Say something; the same `client_id` twice is one message."""

    answer: ClassVar = SendMessageAck
    rest: ClassVar = "POST /api/conversations/{conversation}/messages/"

    type: Literal["message.send"]
    conversation: UUID


class EditMessage(MessagePatch, Command):
    """Reword one's own message: a branch of its own in an assistant conversation, else in place.

    `client_id` is that of the message a branch makes; the same one twice is one branch.
    """

    answer: ClassVar = SendMessageAck
    rest: ClassVar = "PATCH /api/messages/{message}/"

    type: Literal["message.edit"]
    message: UUID


class DeleteMessage(Removal, Command):
    """Delete a message of one's own, or as a moderator any: its place stays, its text goes."""

    answer: ClassVar = MessageAck
    rest: ClassVar = "DELETE /api/messages/{message}/"

    type: Literal["message.delete"]
    message: UUID


class React(Command):
    """Give an emoji to a message, or take it back."""

    answer: ClassVar = TallyAck
    rest: ClassVar = "PUT /api/messages/{message}/reactions/{emoji}/"

    type: Literal["message.react"]
    message: UUID
    emoji: Emoji
    on: bool


class Vote(Command):
    """Vote for a topic, by its first message, or for an answer; or take it back."""

    answer: ClassVar = TallyAck
    rest: ClassVar = "PUT /api/messages/{message}/vote/"

    type: Literal["message.vote"]
    message: UUID
    on: bool


class StopReply(Command):
    """Stop a reply, from any device; its text so far is kept."""

    answer: ClassVar = MessageAck
    rest: ClassVar = "POST /api/messages/{message}/stop/"

    type: Literal["reply.stop"]
    message: UUID


class RegenerateReply(Command):
    """Make a sibling of a reply: another answer to the same message."""

    answer: ClassVar = MessageAck
    rest: ClassVar = "POST /api/messages/{message}/regenerate/"

    type: Literal["reply.regenerate"]
    message: UUID


class ContinueReply(Command):
    """Let a reply that ended before its time go on from where it ended."""

    answer: ClassVar = MessageAck
    rest: ClassVar = "POST /api/messages/{message}/continue/"

    type: Literal["reply.continue"]
    message: UUID


class Sync(Command):
    """Ask what is new in one's own list: `since` and `at` as last answered (null: everything)."""

    answer: ClassVar = SyncAck
    rest: ClassVar = "GET /api/me/changes/"

    type: Literal["sync"]
    since: Seq | None = Field(default=None, description="the last seq of your feed that you know")
    at: RoomsCursor | None = None
    cursor: RoomsCursor | None = Field(default=None, description="of an answer not complete")


class Read(ReadMark, Command):
    """Mark everything up to `number` as read."""

    answer: ClassVar = ReadAck
    rest: ClassVar = "POST /api/conversations/{conversation}/read/"

    type: Literal["read"]
    conversation: UUID


class Typing(Command):
    """Say that one is typing: again every three seconds while one does. Or that one is not."""

    type: Literal["typing"]
    conversation: UUID
    active: bool = True


class PresenceCommand(Command):
    """Say whether one uses this client now; until then, and for whom it closes, one does not."""

    type: Literal["presence"]
    active: bool


class WatchPresence(Command):
    """Be told of these people from now on, and of nobody else: those on the screen."""

    answer: ClassVar = WatchAck

    type: Literal["presence.watch"]
    people: list[UUID] = Field(max_length=MAX_WATCHED)


class Auth(Command):
    """Renew the socket's token in place."""

    answer: ClassVar = AuthAck

    type: Literal["auth"]
    token: Annotated[str, Field(min_length=1, max_length=8192)]


class Ping(Command):
    """Answered by `pong`."""

    answer: ClassVar = Pong

    type: Literal["ping"]


# --- Reading ---------------------------------------------------------------------------------


class BadCommand(Exception):
    """A frame that is JSON but no command. `fields` lists what is wrong with it, field by field."""

    def __init__(
        self, code: ErrorCode, command_id: str | None, fields: list[dict[str, str]]
    ) -> None:
        self.code = code
        self.command_id = command_id
        self.fields = fields
        super().__init__(code)


# Errors of a union whose tag is missing or unknown, or of a frame that is no object.
_UNKNOWN: Final = frozenset({"union_tag_invalid", "union_tag_not_found", "model_attributes_type"})


@cache
def _commands() -> TypeAdapter[Command]:
    any_command: Any = Union[tuple(COMMANDS.values())]  # noqa: UP007 - made of what is registered
    return TypeAdapter(Annotated[any_command, Field(discriminator="type")])


def parse_command(frame: Any) -> Command:
    """Return the command that a decoded frame is.

    Raises BadCommand with code `unknown_type` or `invalid`; it names fields and rules, and
    never repeats what was sent.
    """
    if problems := member_errors(frame):
        raise BadCommand(ErrorCode.INVALID, _readable_id(frame), problems)
    try:
        return _commands().validate_python(frame)
    except ValidationError as error:
        command_id = _readable_id(frame)
        if {problem["type"] for problem in error.errors(include_input=False)} & _UNKNOWN:
            raise BadCommand(ErrorCode.UNKNOWN_TYPE, command_id, field_errors(error)) from None
        # Each path begins with the type, by which the command's class was chosen.
        raise BadCommand(ErrorCode.INVALID, command_id, field_errors(error, skip=1)) from None


def _readable_id(frame: Any) -> str | None:
    raw_id = frame.get("id") if isinstance(frame, Mapping) else None
    try:
        return _COMMAND_ID.validate_python(raw_id)
    except ValidationError:
        return None


_COMMAND_ID: Final[TypeAdapter[str]] = TypeAdapter(Command.model_fields["id"].rebuild_annotation())
