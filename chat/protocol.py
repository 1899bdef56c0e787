"""Every frame on the wire, and every limit and close code. Pure Python, no Django.

REST answers with the same states that the socket's events carry, so a client keeps one reducer.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

PROTOCOL: Final = "chatire.v1"

HEARTBEAT_SECONDS: Final = 25
HEARTBEAT_GRACE_SECONDS: Final = 10
# After a token expires, a client has this long to send `auth` before its socket closes.
TOKEN_GRACE_SECONDS: Final = 25
MAX_FRAME_BYTES: Final = 64 * 1024
MAX_CONTENT: Final = 32_000  # characters in one message
MAX_TITLE: Final = 200
MAX_SUBSCRIPTIONS: Final = 200  # conversations one socket may follow at once
MAX_WAITING_COMMANDS: Final = 32  # commands one socket may have unanswered
FRAMES_PER_SECOND: Final = 50.0  # sustained, per socket
FRAMES_BURST: Final = 200
PAGE: Final = 50  # messages in a first load or a page of history
MAX_CHANGES: Final = 500  # changed rows in one answer to `since`
MAX_CHANGES_TEXT: Final = 1_000_000  # characters of message text in one, but for a single message


class CloseCode(IntEnum):
    """Why the server closed a socket."""

    NOT_JSON = 1003
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTARTING = 1012
    AUTHENTICATE = 4001
    NOT_ALLOWED = 4003
    NO_CONVERSATION = 4004
    TOO_SLOW = 4008
    NO_HEARTBEAT = 4012
    TOO_MANY_FRAMES = 4013


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str) and "\x00" in value:
        # Postgres cannot store it, and no one means to send it.
        raise ValueError("the character U+0000 is not allowed")
    return value


def _not_blank(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be blank")
    return value


Text = Annotated[str, BeforeValidator(_without_nul)]
Content = Annotated[
    str,
    BeforeValidator(_without_nul),
    BeforeValidator(_not_blank),
    Field(min_length=1, max_length=MAX_CONTENT),
]
Title = Annotated[str, BeforeValidator(_without_nul), Field(max_length=MAX_TITLE)]
ClientId = Annotated[
    str,
    BeforeValidator(_without_nul),
    Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$"),
]
ModelName = Annotated[str, BeforeValidator(_without_nul), Field(min_length=1, max_length=120)]
CommandId = Annotated[str, Field(min_length=1, max_length=64)]
Seq = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]

Kind = Literal["assistant", "group", "discussion"]
Role = Literal["owner", "admin", "member"]
Level = Literal["all", "mentions", "none"]
Speaker = Literal["user", "assistant", "system"]
Status = Literal["complete", "pending", "streaming", "failed", "cancelled", "interrupted"]


# --- States: the full row, as REST and events both carry it -----------------------------------


class PersonState(_Frame):
    """A person, as other members see them."""

    id: UUID
    name: str
    is_guest: bool


class AssistantState(_Frame):
    """An assistant, as members see it."""

    id: UUID
    slug: str
    name: str
    avatar: str
    description: str
    model: str
    allowed_models: list[str]
    language: str


class AuthorState(_Frame):
    """Who wrote a message."""

    type: Literal["user", "assistant"]
    id: UUID
    name: str
    avatar: str


class UsageState(_Frame):
    """Tokens a reply took, as the model reported them or as we estimated."""

    input_tokens: int
    output_tokens: int
    estimated: bool


class MessageState(_Frame):
    """A message. While it streams, `content` is empty: the text comes by snapshot and deltas."""

    id: UUID
    conversation: UUID
    seq: int
    created_seq: int
    author: AuthorState | None
    role: Speaker
    content: str
    reasoning: str
    refusal: str
    tool_calls: list[dict[str, Any]]
    status: Status
    parent: UUID | None
    client_id: str | None
    model: str
    attempt: int
    usage: UsageState | None
    finish_reason: str
    error_code: str
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None


class MemberState(_Frame):
    """A member; `left_at` is set on those who are no longer."""

    id: UUID
    conversation: UUID
    seq: int
    user: PersonState | None
    assistant: AssistantState | None
    role: Role
    nickname: str
    joined_at: datetime
    left_at: datetime | None
    last_read_seq: int


class ConversationState(_Frame):
    """A conversation as all its members see it; `changed_seq` is the row's own last change."""

    id: UUID
    kind: Kind
    title: str
    seq: int
    changed_seq: int
    creator: UUID | None
    model: str
    language: str
    created_at: datetime
    active_at: datetime


class Snapshot(_Frame):
    """A streaming reply so far; the next delta of this attempt has `index`."""

    message: UUID
    attempt: int
    index: int
    text: str
    reasoning: str


class Changes(_Frame):
    """What brings a client that knew everything up to `since` up to `seq`.

    With `since` null, or where the client's `since` cannot be continued (`reset`), it is a
    first load: all members and the newest messages; drop what you had. When `complete` is
    false, ask again with this `seq`.
    """

    epoch: UUID
    conversation: ConversationState
    since: int | None
    seq: int
    reset: bool
    complete: bool
    messages: list[MessageState]
    members: list[MemberState]
    snapshots: list[Snapshot]
    # Are there messages older than these? Only in a first load.
    more_before: bool


# --- Client to server ------------------------------------------------------------------------


class Command(_Frame):
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


class StopReply(Command):
    """Stop a reply, from any device; its text so far is kept."""

    type: Literal["reply.stop"]
    message: UUID


class RegenerateReply(Command):
    """Make a sibling of a reply: another answer to the same turn."""

    type: Literal["reply.regenerate"]
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
    | StopReply
    | RegenerateReply
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
        "reply.stop",
        "reply.regenerate",
        "read",
        "typing",
        "auth",
        "ping",
    }
)


# --- Server to client: answers ---------------------------------------------------------------


class Ack(_Frame):
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


class Pong(_Frame):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: str


class HeartbeatAnswer(_Frame):
    """What a client sends when the server's `ping` finds it with nothing to say. No answer."""

    type: Literal["pong"]


class ErrorFrame(_Frame):
    """The one answer to a command that was refused. `id` is null if none could be read."""

    type: Literal["error"] = "error"
    id: str | None
    code: str
    message: str
    details: dict[str, Any]


# --- Server to client: events ----------------------------------------------------------------


class Limits(_Frame):
    """What the server takes from one socket."""

    frame_bytes: int = MAX_FRAME_BYTES
    content: int = MAX_CONTENT
    subscriptions: int = MAX_SUBSCRIPTIONS
    waiting_commands: int = MAX_WAITING_COMMANDS
    frames_per_second: float = FRAMES_PER_SECOND


class Event(_Frame):
    """Anything the server sends unasked."""

    type: str


class Hello(Event):
    """The first frame on every socket."""

    type: Literal["hello"] = "hello"
    protocol: str = PROTOCOL
    epoch: UUID
    session: str
    user: PersonState
    heartbeat: int = HEARTBEAT_SECONDS
    token_expires_at: float
    limits: Limits = Limits()


class _InConversation(Event):
    conversation: UUID


class _Durable(_InConversation):
    seq: int


class MessageCreated(_Durable):
    """A message was made."""

    type: Literal["message.created"] = "message.created"
    message: MessageState


class MessageUpdated(_Durable):
    """A message was edited, deleted, or its reply moved on."""

    type: Literal["message.updated"] = "message.updated"
    message: MessageState


class MemberJoined(_Durable):
    """Someone joined."""

    type: Literal["member.joined"] = "member.joined"
    member: MemberState


class MemberUpdated(_Durable):
    """A member's role, name or read mark changed."""

    type: Literal["member.updated"] = "member.updated"
    member: MemberState


class MemberLeft(_Durable):
    """Someone left or was removed."""

    type: Literal["member.left"] = "member.left"
    member: MemberState


class ConversationUpdated(_Durable):
    """The title or another property of the conversation changed."""

    type: Literal["conversation.updated"] = "conversation.updated"
    state: ConversationState


class ConversationDeleted(_Durable):
    """The conversation is gone."""

    type: Literal["conversation.deleted"] = "conversation.deleted"


class ConversationTouched(_Durable):
    """Something happened in a conversation of yours; on your own group, subscribed or not."""

    type: Literal["conversation.touched"] = "conversation.touched"
    unread: int


class ReplyDelta(_InConversation):
    """The next stretch of a streaming reply; `index` counts from 0 within an attempt.

    To a slow client several are merged into one: it carries the last one's `index`, and
    `first_index`, absent otherwise, is that of the first.
    """

    type: Literal["reply.delta"] = "reply.delta"
    message: UUID
    attempt: int
    index: int
    text: str
    reasoning: str = ""


class TypingEvent(_InConversation):
    """Someone is typing, or no longer. Never stored."""

    type: Literal["typing"] = "typing"
    user: UUID
    active: bool


class NotificationCreated(Event):
    """Something for your inbox."""

    type: Literal["notification.created"] = "notification.created"
    notification: dict[str, Any]
    unread: int


class NotificationRead(Event):
    """Something in your inbox was read, here or elsewhere."""

    type: Literal["notification.read"] = "notification.read"
    notification: dict[str, Any] | None
    unread: int


class ServerPing(Event):
    """The heartbeat. Any frame answers it; a client with nothing to say sends `pong`."""

    type: Literal["ping"] = "ping"


class Resync(Event):
    """Events may have been missed: ask again from your last seq (null: everywhere)."""

    type: Literal["resync"] = "resync"
    conversation: UUID | None = None


class Reconnect(Event):
    """The server is going away; come back after `after_ms` milliseconds."""

    type: Literal["reconnect"] = "reconnect"
    after_ms: int
