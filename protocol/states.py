"""The full row, as REST and events both carry it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from protocol.fields import (
    Access,
    Hears,
    History,
    Kind,
    Level,
    Policy,
    Presence,
    Reads,
    Role,
    Speaker,
    Status,
    Threads,
)
from protocol.frames import Frame


class PersonState(Frame):
    """A person, as other members see them."""

    id: UUID
    name: str
    is_guest: bool


class PersonStatusState(Frame):
    """What a person says of themselves; after `until` it holds no longer."""

    emoji: str
    text: str
    until: datetime | None


class PresenceState(Frame):
    """Whether a person is here: `active`, `idle` with a client that is open, or `offline`."""

    user: UUID
    presence: Presence
    status: PersonStatusState | None


class AssistantState(Frame):
    """An assistant, as members see it."""

    id: UUID
    slug: str
    name: str
    avatar: str
    description: str
    model: str
    allowed_models: list[str]
    language: str


class AuthorState(Frame):
    """Who wrote a message."""

    type: Literal["user", "assistant"]
    id: UUID
    name: str
    avatar: str
    is_guest: bool = False


class UsageState(Frame):
    """Tokens a reply took, as the model reported them or as we estimated."""

    input_tokens: int
    output_tokens: int
    estimated: bool


class MentionState(Frame):
    """Whom a message names, and where: `start` and `length` count code points of `content`.

    `id` is null for everyone (`all`).
    """

    type: Literal["user", "assistant", "group", "all"]
    id: UUID | None
    start: int
    length: int


class MentionableState(Frame):
    """Whom one may name by `@` and `handle`; `people` is how many that are, of more than one."""

    type: Literal["user", "assistant", "group", "all"]
    id: UUID | None
    handle: str
    name: str
    avatar: str
    people: int | None


class MessageState(Frame):
    """A message. While it waits or streams, `content` is what it said before it was continued.

    What a run says comes by snapshot and deltas, which begin with that.
    """

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
    deleted_by: UUID | None
    pinned_at: datetime | None
    pinned_by: UUID | None
    # Its place among what can be read; null while a reply is being made.
    number: int | None
    mentions: list[MentionState]


class MemberState(Frame):
    """A member; `left_at` is set on those who are no longer."""

    id: UUID
    conversation: UUID
    seq: int
    user: PersonState | None
    assistant: AssistantState | None
    role: Role
    nickname: str
    # What an assistant replies to, and what it is told of; null for people.
    hears: Hears | None
    reads: Reads | None
    invited_by: UUID | None
    joined_at: datetime
    left_at: datetime | None
    # Until then they may say nothing.
    silenced_until: datetime | None


class ConversationState(Frame):
    """A conversation as all its members see it; `changed_seq` is the row's own last change."""

    id: UUID
    kind: Kind
    # A topic's forum, a thread's room; and the message that a thread hangs on.
    parent: UUID | None
    root: UUID | None
    # The conversation whose members decide who may do what here: itself, but for those.
    members_of: UUID
    title: str
    topic_text: str
    avatar: str
    access: Access
    # Whether people reply in threads: as they like, never, or in nothing else.
    threads: Threads
    # From where those who join may read: `joined`, only what comes after.
    history: History
    archived_at: datetime | None
    seq: int
    changed_seq: int
    creator: UUID | None
    model: str
    language: str
    # The least role by action, and as `replies` how many a day may be asked for.
    policy: Policy
    # Between two messages of one person; moderators are exempt.
    slow_seconds: int
    # Of a forum: the assistant that answers each new topic.
    responder: UUID | None
    created_at: datetime
    active_at: datetime


class MineState(Frame):
    """What one alone sees of a conversation; `seq` is that of one's own feed.

    `removed` are the numbers after `read` of messages that were deleted by the time that the
    conversation had `number`; `unread` is what then remains: number - read - those removed. From
    there on a client counts by itself, with the `number` and the `removed` of touches.
    `named` are the numbers after `read` of messages that name one, the newest 100, as of the
    conversation's seq `as_of`; from there on by the `named` of touches.
    """

    conversation: UUID
    seq: int
    read: int
    number: int
    removed: list[int]
    unread: int
    named: list[int]
    mentions: int
    as_of: int
    level: Level
    muted_until: datetime | None
    pinned: int | None
    # Of a thread, whether one hears of it; of a room one is in, always.
    follows: bool


class RoomState(ConversationState):
    """A conversation as one of its members lists it; `people` are those present."""

    number: int
    people: int
    role: Role
    preview: str
    mine: MineState


class NamedTouch(Frame):
    """Whether the message of this number names one, as of the conversation's `seq`."""

    number: int
    seq: int
    you: bool


class RoomTouch(Frame):
    """A conversation that moved: what a list shows of it, as it is with this `seq`.

    `removed` are the numbers of messages that were deleted since the touch before; `read` is one's
    own mark, if what one has written moved it. A `preview` that is null is as it was.
    """

    conversation: UUID
    seq: int
    number: int
    active_at: datetime
    title: str
    preview: str | None
    removed: list[int]
    # Of messages that name somebody, or name others since they were edited.
    named: list[NamedTouch]
    read: int | None


class ObjectState(Frame):
    """What a notification is about; `type` is the kind of thing, such as `conversation`."""

    type: str
    id: str


class NotificationState(Frame):
    """One entry of somebody's inbox. `url` is absolute, or a path on this site; it may be empty."""

    id: UUID
    category: str
    action: str
    source: UUID | None
    source_display_name: str
    short_description: str
    url: str
    object: ObjectState | None
    extra_data: dict[str, Any]
    is_read: bool
    created_at: datetime


class ReactionState(Frame):
    """How many people gave one emoji, and who they are: the first five."""

    emoji: str
    count: int
    users: list[UUID]


class TallyState(Frame):
    """What was counted under a message, the emoji that was first given first.

    In the `thread` that hangs on it there are so many `replies`, the last of `replied_at`;
    `repliers` are the first five who gave any.
    """

    message: UUID
    seq: int
    reactions: list[ReactionState]
    thread: UUID | None
    replies: int
    replied_at: datetime | None
    repliers: list[AuthorState]


class OwnTallyState(TallyState):
    """The same for one person; `mine` are the emoji that they gave."""

    mine: list[str]


class ReactedState(Frame):
    """All the emoji that a person has given to a message, now that some have changed."""

    message: UUID
    user: UUID
    emojis: list[str]


class TopicState(Frame):
    """A topic as its forum lists it; `seq` is the forum's, `number` counts its topics.

    `votes`, `replies`, `active_at` and `hot` follow the conversation a few seconds later, and
    nothing is told of `views`: they are as of when the row was read.
    """

    id: UUID = Field(description="of the conversation")
    forum: UUID
    seq: int
    number: int
    title: str
    author: AuthorState | None
    first_message: UUID = Field(description="votes for the topic are its votes")
    accepted: UUID | None = Field(description="the answer that was accepted")
    accepted_by: UUID | None
    solved: bool
    closed: bool
    pinned: bool
    deleted: bool
    tags: list[str]
    votes: int
    views: int
    replies: int
    hot: float
    created_at: datetime
    active_at: datetime


class Snapshot(Frame):
    """A streaming reply so far; the next delta of this attempt has `index`."""

    message: UUID
    attempt: int
    index: int
    text: str
    reasoning: str


class Changes(Frame):
    """What brings a client that knew everything up to `since` up to `seq`.

    With `since` null, or where the client's `since` cannot be continued (`reset`), it is a
    first load: the members and the newest messages; drop what you had. When `complete` is
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
    # In a first load, those of its messages.
    tallies: list[OwnTallyState]
    # Of a forum; in a first load those that were active last, the pinned ones first.
    topics: list[TopicState]
    snapshots: list[Snapshot]
    # Are there messages older than these? Only in a first load.
    more_before: bool
    number: int
    # Messages whose `created_seq` is not beyond it are not for this person to read.
    readable_after: int
    # The seq one joined with: that, while the history is `joined`. 0 inside of another one.
    joined_seq: int
    # Persons present. Beyond LARGE_ROOM only managers, assistants and oneself are in `members`.
    people: int


class InboxState(Frame):
    """How many notifications are unread, and the newest."""

    unread: int
    newest: list[NotificationState]


class PersonChanges(Frame):
    """What brings a client that knew its person's feed up to `since`, and rooms as of `at`, here.

    With `since` null, or with `reset`, it is a first load: drop what you had. Unless `complete`,
    ask on with this `cursor`; `seq` and `at` hold once all of it is there.
    """

    epoch: UUID
    since: int | None
    seq: int
    at: str
    reset: bool
    complete: bool
    cursor: str | None
    user: PersonState
    rooms: list[RoomState]
    # Conversations that were left or deleted.
    gone: list[UUID]
    # In how many conversations something is unread.
    unread_rooms: int
    # How many unread messages name one, in all of them.
    mentions: int
    notifications: InboxState
    # Whom one blocks, all of them; null: as before.
    blocks: list[UUID] | None
    # Whom one may talk to; only in the first answer of a first load.
    assistants: list[AssistantState]
