"""What the server sends unasked."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from protocol.frames import Event, Order, Told, WhenSlow
from protocol.limits import (
    FRAMES_BURST,
    FRAMES_PER_SECOND,
    HEARTBEAT_SECONDS,
    MAX_CONTENT,
    MAX_FRAME_BYTES,
    MAX_MENTIONS,
    MAX_REACTIONS,
    MAX_SUBSCRIPTIONS,
    MAX_WAITING_COMMANDS,
    MAX_WATCHED,
    PROTOCOL,
    TYPISTS,
)
from protocol.states import (
    ConversationState,
    MemberState,
    MessageState,
    MineState,
    NotificationState,
    PersonState,
    PresenceState,
    ReactedState,
    RoomTouch,
    TallyState,
    TopicState,
)


class Limits(Told):
    """What the server takes from one socket."""

    frame_bytes: int = Field(
        default=MAX_FRAME_BYTES, description="bytes of one frame; beyond: 1009"
    )
    content: int = Field(
        default=MAX_CONTENT, description="characters of one message; beyond: `invalid`"
    )
    subscriptions: int = Field(
        default=MAX_SUBSCRIPTIONS,
        description="conversations one socket follows; beyond: `too_many_subscriptions`",
    )
    waiting_commands: int = Field(
        default=MAX_WAITING_COMMANDS,
        description="commands of one socket without an answer; beyond: `too_many_commands`",
    )
    reactions: int = Field(
        default=MAX_REACTIONS,
        description="kinds of reactions under one message; beyond: `too_many_reactions`",
    )
    mentions: int = Field(
        default=MAX_MENTIONS,
        description="mentions in one message; beyond: `too_many_mentions`",
    )
    watched: int = Field(
        default=MAX_WATCHED, description="people whose presence one socket is told of"
    )
    frames_per_second: float = Field(
        default=FRAMES_PER_SECOND,
        description="frames from one socket in the long run; beyond: 4013",
    )
    frames_burst: int = Field(
        default=FRAMES_BURST, description="frames from one socket at once; beyond: 4013"
    )


class Hello(Event):
    """The first frame on every socket."""

    type: Literal["hello"] = "hello"
    protocol: str = PROTOCOL
    epoch: UUID
    session: str = Field(description="this connection's name")
    user: PersonState
    heartbeat: int = Field(default=HEARTBEAT_SECONDS, description="seconds")
    token_expires_at: float = Field(description="seconds since 1970")
    feed: int = Field(description="the newest seq of your own feed; behind it, send `sync`")
    limits: Limits = Limits()


class _InConversation(Event):
    conversation: UUID


class _Durable(_InConversation):
    order: ClassVar = Order.CONVERSATION

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
    people: int


class MemberUpdated(_Durable):
    """A member's role or name changed."""

    type: Literal["member.updated"] = "member.updated"
    member: MemberState


class MemberLeft(_Durable):
    """Someone left or was removed."""

    type: Literal["member.left"] = "member.left"
    member: MemberState
    people: int


class TallyUpdated(_Durable):
    """Reactions were counted under some messages; at most once a second."""

    type: Literal["tally.updated"] = "tally.updated"
    tallies: list[TallyState]
    by: list[ReactedState] | None = Field(description="whose changed; null: too many to say")


class TopicCreated(_Durable):
    """Somebody began a topic; `conversation` is the forum."""

    type: Literal["topic.created"] = "topic.created"
    topic: TopicState


class TopicUpdated(_Durable):
    """A topic was changed, solved, deleted, or what happened in it counted."""

    type: Literal["topic.updated"] = "topic.updated"
    topic: TopicState


class ConversationUpdated(_Durable):
    """The title or another property of the conversation changed."""

    type: Literal["conversation.updated"] = "conversation.updated"
    state: ConversationState


class ConversationDeleted(_Durable):
    """The conversation is gone."""

    type: Literal["conversation.deleted"] = "conversation.deleted"


class MembersChanged(_Durable):
    """Plain members came or went in a room of over 100 people."""

    type: Literal["members.changed"] = "members.changed"
    first_seq: int
    people: int


class RoomsTouched(Event):
    """What moved in conversations of yours, subscribed or not; at most once a second."""

    type: Literal["rooms.touched"] = "rooms.touched"
    rooms: list[RoomTouch]


class MineUpdated(Event):
    """What you alone see of conversations changed; `gone` are those you are in no more."""

    order: ClassVar = Order.PERSON

    type: Literal["mine.updated"] = "mine.updated"
    seq: int
    mine: list[MineState]
    gone: list[UUID]


class BlockUpdated(Event):
    """Whom you block changed; these are all of them now."""

    order: ClassVar = Order.PERSON

    type: Literal["block.updated"] = "block.updated"
    seq: int
    blocks: list[UUID]


class ReplyDelta(_InConversation):
    """The next stretch of a streaming reply; `index` counts from 0 within an attempt.

    To a slow client several are merged into one: it carries the last one's `index`, and
    `first_index`, absent otherwise, is that of the first.
    """

    when_slow: ClassVar = WhenSlow.MERGED

    type: Literal["reply.delta"] = "reply.delta"
    message: UUID
    attempt: int
    index: int
    text: str
    reasoning: str = ""
    first_index: int | None = Field(
        default=None, exclude_if=lambda index: index is None, description="only when merged"
    )


class TypingEvent(_InConversation):
    """Who is typing, all of them: once a second at most, whoever begins or stops. Never stored.

    While somebody types it is repeated; what was said six seconds ago holds no longer.
    """

    when_slow: ClassVar = WhenSlow.DROPPED

    type: Literal["typing"] = "typing"
    users: list[UUID] = Field(max_length=TYPISTS, description="those who began first, five at most")
    count: int = Field(description="of all who type")


class PresenceEvent(Event):
    """Of people that you watch, those who came, went or say something else; every 2 s at most."""

    type: Literal["presence"] = "presence"
    people: list[PresenceState]


class NotificationCreated(Event):
    """Something for your inbox."""

    order: ClassVar = Order.PERSON

    type: Literal["notification.created"] = "notification.created"
    notification: NotificationState
    unread: int


class NotificationRead(Event):
    """Something in your inbox was read, here or elsewhere; null: several at once."""

    order: ClassVar = Order.PERSON

    type: Literal["notification.read"] = "notification.read"
    notification: NotificationState | None = Field(description="null: several")
    unread: int


class ServerPing(Event):
    """The heartbeat. Any frame answers it; a client with nothing to say sends `pong`."""

    type: Literal["ping"] = "ping"


class AccountsMerged(Event):
    """What a guest did is an account's from now on; the guest's sessions end."""

    type: Literal["accounts.merged"] = "accounts.merged"
    guest: UUID
    account: PersonState


class Resync(Event):
    """Events may have been missed: ask again from your last seq (null: everywhere)."""

    type: Literal["resync"] = "resync"
    conversation: UUID | None = Field(default=None, description="null: all that you follow")


class Reconnect(Event):
    """The server is going away; come back after `after_ms` milliseconds."""

    type: Literal["reconnect"] = "reconnect"
    after_ms: int = Field(description="milliseconds")
