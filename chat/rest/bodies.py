"""What REST takes and answers beyond the protocol's own states and the bodies of commands."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, field_validator

from accounts.rest.bodies import Tokens
from protocol.fields import (
    STORABLE,
    Access,
    Avatar,
    ClientId,
    Content,
    Emoji,
    Hears,
    History,
    Kind,
    Language,
    Level,
    ModelName,
    Moment,
    Nickname,
    Policy,
    Reads,
    Role,
    RoomsCursor,
    Slug,
    Sort,
    StatusEmoji,
    StatusText,
    Tag,
    Tags,
    Threads,
    Title,
    Topic,
    TopicFilter,
    TopicTitle,
    Whole,
    Why,
)
from protocol.frames import Body
from protocol.states import (
    AssistantState,
    ConversationState,
    MemberState,
    MentionableState,
    MessageState,
    OwnTallyState,
    PersonState,
    PersonStatusState,
    RoomState,
    TopicState,
)

MAX_PAGE = 200
Uses = Annotated[int, Field(ge=1, le=1_000_000)]
Label = Annotated[str, Field(max_length=80), STORABLE]


class NewConversation(Body):
    """A conversation to open."""

    kind: Kind = "assistant"
    assistant: Slug | None = None
    title: Title = ""
    model: ModelName | Literal[""] = ""
    language: Language = ""
    members: list[UUID] = Field(default_factory=list, max_length=100)
    topic_text: Topic = ""
    avatar: Avatar = ""
    access: Access = "private"
    history: History = "all"
    threads: Threads = "on"


class StatusBody(Body):
    """What one says of oneself; without text and emoji, nothing."""

    emoji: StatusEmoji = ""
    text: StatusText = ""
    until: Moment | None = None


class OwnStatus(Body):
    """What one says of oneself; null: nothing."""

    status: PersonStatusState | None


class UnreadMark(Body):
    """The first message that is to be unread."""

    message: UUID


class ConversationPatch(Body):
    """What may be changed of a conversation; what is left out stays as it is."""

    title: Title = ""
    topic_text: Topic = ""
    avatar: Avatar = ""
    access: Access = "private"
    history: History = "all"
    threads: Threads = "on"
    policy: Policy = Field(
        default_factory=dict,
        description="The least role for what a room decides by itself, where it is another; as "
        "`replies` how many replies a day may be asked for.",
    )
    slow_seconds: Annotated[int, Field(ge=0, le=21_600)] = Field(
        default=0, description="Between two messages of one person; 0: no slow mode."
    )
    responder: Slug | None = Field(
        default=None, description="Of a forum: the assistant that answers each new topic."
    )


class Direct(Body):
    """With whom to have a conversation."""

    people: list[UUID] = Field(min_length=1, max_length=100)


class DirectoryQuery(Body):
    """Which rooms are looked for."""

    q: Annotated[str, Field(max_length=80), STORABLE] = Field(
        default="", description="A part of their titles."
    )


class ListedRoom(Body):
    """A room as it is found by those who may not be in it."""

    id: UUID
    title: str
    topic_text: str
    avatar: str
    access: Access
    people: int
    active_at: datetime
    is_in: bool = Field(description="Is one a member?")
    has_asked: bool = Field(description="Has one asked to be let in, and was not answered?")


class ListedRoomPage(Body):
    """Rooms that can be found, newest activity first."""

    next: str | None
    previous: str | None
    results: list[ListedRoom]


class NewRequest(Body):
    """What one says when one asks to be let in."""

    text: Annotated[str, Field(max_length=500), STORABLE] = ""


class Decision(Body):
    """Whether somebody is let in."""

    accept: bool


class RequestBody(Body):
    """Somebody's wish to be let in; `accepted` is null until it is decided."""

    id: UUID
    conversation: UUID
    user: PersonState
    text: str
    invitation: UUID | None
    created_at: datetime
    accepted: bool | None


class RequestPage(Body):
    """Requests that wait to be decided, oldest first."""

    next: str | None
    previous: str | None
    results: list[RequestBody]


class NewInvitation(Body):
    """A link to make."""

    role: Literal["member", "guest"] = "member"
    guests: bool = Field(default=False, description="May people without an account come by it?")
    email: Annotated[str, Field(max_length=254), STORABLE] = Field(
        default="", description="The address of the account it is for; empty: anyone's."
    )
    max_uses: Uses | None = None
    expires_at: Moment | None = None
    approval: bool = Field(default=False, description="Do those who take it have to be let in?")
    label: Label = ""


class InvitationPatch(Body):
    """What may be changed of a link; what is left out stays as it is."""

    max_uses: Uses | None = None
    expires_at: Moment | None = None
    label: Label = ""
    renew: bool = Field(default=False, description="End the link's present text and make another.")


class InvitationBody(Body):
    """A link, as those who manage it see it."""

    id: UUID
    token: str = Field(repr=False)
    role: Role
    guests: bool
    email: str
    max_uses: int | None
    uses: int
    expires_at: datetime | None
    approval: bool
    by: PersonState
    label: str
    created_at: datetime


class InvitationPage(Body):
    """Links, oldest first."""

    next: str | None
    previous: str | None
    results: list[InvitationBody]


class InvitationPreview(Body):
    """Where a link leads, for those who think about taking it."""

    title: str
    topic_text: str
    avatar: str
    by: str = Field(description="The name of who invites.")
    people: int
    role: Role
    guests: bool
    approval: bool
    history: History
    for_one: bool = Field(description="Is it for one e-mail address only?")


class NewGuest(Body):
    """Who one is, without an account."""

    name: Annotated[str, Field(min_length=1, max_length=80), STORABLE]


class TakeInvitation(Body):
    """Taking a link; `guest` is for people who are not signed in."""

    guest: NewGuest | None = None


class TakenInvitation(Body):
    """What came of it: the conversation one is in now, or a request to be let in."""

    conversation: RoomState | None
    request: RequestBody | None
    tokens: Tokens | None = Field(description="A new guest's.")


class RemovedBody(Body):
    """How many were removed."""

    removed: int


class NewTopic(Body):
    """A topic to begin; the same `client_id` twice is one."""

    client_id: ClientId
    title: TopicTitle
    content: Content
    tags: Tags = Field(default_factory=list)


class TopicPatch(Body):
    """What may be changed of a topic; what is left out stays as it is."""

    title: TopicTitle | None = None
    tags: Tags | None = None
    solved: bool | None = Field(
        default=None, description="Also without an answer; false: none is accepted any more."
    )
    closed: bool | None = Field(default=None, description="Is nothing more said in it?")
    pinned: bool | None = None


class TopicsQuery(Body):
    """Which topics are asked for."""

    sort: Sort = Field(default="active", description="`unanswered` has those only, newest first.")
    tag: Tag | None = None
    state: TopicFilter | None = None
    q: Annotated[str, Field(max_length=80), STORABLE] = Field(
        default="", description="A part of their titles."
    )
    cursor: RoomsCursor | None = Field(default=None, description="From `next`.")
    limit: Whole | None = Field(
        default=None, description=f"How many at most: 1 to {MAX_PAGE}, else 50."
    )


class TopicPage(Body):
    """Topics in the order asked for."""

    next: str | None
    results: list[TopicState]


class TopicBody(Body):
    """A topic as it is now."""

    topic: TopicState


class BegunTopic(Body):
    """The stored topic and its first message."""

    topic: TopicState
    message: MessageState


class Acceptance(Body):
    """Accepting an answer."""

    instead_of: UUID | None = Field(
        default=None, description="The answer accepted now, as far as one knows."
    )


class NewBan(Body):
    """How long somebody may not come back, and why."""

    until: Moment | None = None
    reason: Why = ""


class BanBody(Body):
    """Somebody who may not come in."""

    id: UUID
    user: PersonState
    by: PersonState | None
    reason: str
    until: datetime | None
    created_at: datetime


class BanPage(Body):
    """Who may not come in, oldest first."""

    next: str | None
    previous: str | None
    results: list[BanBody]


class Silence(Body):
    """Until when somebody may say nothing, and why."""

    until: Moment
    reason: Why = ""


class DeletedBody(Body):
    """How many were deleted."""

    deleted: int


class RevisionBody(Body):
    """What a message said until `at`, when `by` reworded or deleted it."""

    n: int
    content: str
    at: datetime
    by: PersonState | None


class RevisionPage(Body):
    """What a message said before, the first wording first."""

    next: str | None
    previous: str | None
    results: list[RevisionBody]


class PinPage(Body):
    """Pinned messages, the one pinned last first."""

    next: str | None
    previous: str | None
    results: list[MessageState]


class NewReport(Body):
    """What is wrong with a message."""

    reason: Literal["spam", "abuse", "illegal", "other"]
    note: Annotated[str, Field(max_length=500), STORABLE] = ""


class ReportedBody(Body):
    """One's own report, as far as one is told of it."""

    id: UUID
    message: UUID
    reason: str
    created_at: datetime


class ReportBody(Body):
    """A message that somebody reported, as it was then and as it is now. By whom is not told."""

    id: UUID
    conversation: UUID
    message: MessageState
    reason: str
    note: str
    content: str
    created_at: datetime
    resolution: str = Field(description="Empty: nobody has decided.")


class ReportPage(Body):
    """Reports that nobody has decided, the oldest first."""

    next: str | None
    previous: str | None
    results: list[ReportBody]


class StaffReportBody(ReportBody):
    """The same for staff, who also see who reported it."""

    reporter: PersonState


class StaffReportPage(Body):
    """Reports for staff that nobody has decided, the oldest first."""

    next: str | None
    previous: str | None
    results: list[StaffReportBody]


class Resolution(Body):
    """What becomes of a reported message, and of its author.

    `silenced` (which needs `until`) and `banned` delete the message, too.
    """

    resolution: Literal["dismissed", "deleted", "silenced", "banned"]
    until: Moment | None = None
    reason: Why = ""


class AuditBody(Body):
    """Who did what, to whom or to which message, and why."""

    id: UUID
    action: str
    actor: PersonState | None
    person: PersonState | None
    message: UUID | None
    as_staff: bool = Field(description="Was it done by the installation's staff?")
    reason: str
    details: dict[str, Any]
    created_at: datetime


class AuditPage(Body):
    """The audit log, the newest entry first."""

    next: str | None
    previous: str | None
    results: list[AuditBody]


class BlocksBody(Body):
    """Whom one blocks."""

    blocks: list[UUID]


class BlockedPage(Body):
    """The people whom one blocks."""

    next: str | None
    previous: str | None
    results: list[PersonState]


class NewMember(Body):
    """Whom to add: a person, or an assistant by its slug."""

    user: UUID | None = None
    assistant: Slug | None = None


class MemberPatch(Body):
    """What may be changed of a member."""

    role: Role | None = None
    nickname: Nickname | None = None
    hears: Hears | None = Field(default=None, description="What an assistant replies to.")
    reads: Reads | None = Field(default=None, description="What an assistant is told of.")


class MinePatch(Body):
    """What one may set for oneself alone; what is left out stays as it is."""

    level: Level | None = None
    muted_until: Moment | None = None
    pinned: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="Its place among the pinned, the smallest first; null: unpinned."
    )

    follows: bool | None = Field(default=None, description="Of a thread: does one hear of it?")


class ThreadBody(Body):
    """What hangs on a message; `thread` is null while nobody has replied."""

    root: MessageState
    thread: RoomState | None


class SentInThread(Body):
    """What was stored in the thread, the reply that was started, and what was said in the room."""

    thread: ConversationState
    message: MessageState
    reply: MessageState | None
    in_room: MessageState | None


class ThreadItem(Body):
    """A thread, and what it hangs on."""

    thread: RoomState
    root: MessageState


class ThreadPage(Body):
    """Threads that one follows, newest activity first."""

    next: str | None
    previous: str | None
    results: list[ThreadItem]


class MyChangesQuery(Body):
    """What a client knows of its person's list."""

    since: Whole | None = Field(
        default=None, description="The last `seq` of the feed; absent: a first load."
    )
    at: RoomsCursor | None = Field(default=None, description="The last `at`, with `since`.")
    cursor: RoomsCursor | None = Field(
        default=None, description="That of an answer that was not complete, in place of both."
    )


class MembersQuery(Body):
    """Which members are asked for."""

    q: Annotated[str, Field(max_length=80), STORABLE] | None = Field(
        default=None, description="The beginning of a name or nickname, or of a word in it."
    )
    role: Role | None = None


class SinceQuery(Body):
    """From where changes are asked for."""

    since: Whole | None = Field(
        default=None, description="The last `seq` known; absent: a first load."
    )


class HistoryQuery(Body):
    """Which messages are asked for."""

    before: Whole | None = Field(
        default=None, description="Only messages whose `created_seq` is smaller."
    )
    after: Whole | None = Field(
        default=None, description="Only messages whose `created_seq` is greater."
    )
    limit: Whole | None = Field(
        default=None, description=f"How many at most: 1 to {MAX_PAGE}, else 50."
    )


class PeopleQuery(Body):
    """Which people are asked for."""

    q: Annotated[str, Field(max_length=80), STORABLE] | None = Field(
        default=None, description="The beginning of a name or user name, or of a word in a name."
    )
    ids: Annotated[str, Field(max_length=3700)] | None = Field(
        default=None,
        description="Ids with commas between, 100 at most; of a merged guest it is the account's.",
    )

    @property
    def people(self) -> list[UUID] | None:
        """The `ids` as such."""
        return None if self.ids is None else [UUID(one) for one in self.ids.split(",")]

    @field_validator("ids")
    @classmethod
    def _are_ids(cls, ids: str | None) -> str | None:
        for one in (ids or "").split(",") if ids is not None else ():
            UUID(one)
        return ids


class KnownPerson(Body):
    """Somebody one may write to; a guest has no user name."""

    id: UUID
    name: str
    is_guest: bool
    username: str


class PeoplePage(Body):
    """People, by their user names."""

    next: str | None
    previous: str | None
    results: list[KnownPerson]


class ReactionEmoji(Body):
    """An emoji in an address."""

    emoji: Emoji


class ReactionsQuery(Body):
    """Which reactions are asked for."""

    emoji: Emoji | None = None


class ReactionItem(Body):
    """Who gave what, and when."""

    emoji: str
    user: PersonState
    created_at: datetime


class ReactionPage(Body):
    """Reactions, the first given first."""

    next: str | None
    previous: str | None
    results: list[ReactionItem]


class ConversationPage(Body):
    """Conversations, newest activity first."""

    next: str | None
    previous: str | None
    results: list[RoomState]


class AssistantPage(Body):
    """Assistants a conversation may be opened with."""

    next: str | None
    previous: str | None
    results: list[AssistantState]


class MemberPage(Body):
    """Present members, in joining order."""

    next: str | None
    previous: str | None
    results: list[MemberState]


class MessagePageBody(Body):
    """Messages in conversation order, and whether there are more on either side."""

    results: list[MessageState]
    tallies: list[OwnTallyState]
    more_before: bool
    more_after: bool


class MentionableQuery(Body):
    """Whom one begins to name."""

    q: Annotated[str, Field(max_length=80), STORABLE] = Field(
        default="", description="The beginning of a user name, a name, or a word in it."
    )


class MentionableList(Body):
    """Who can be named: those first whose user name or slug begins so."""

    results: list[MentionableState]


class MentionPage(Body):
    """Messages that name one, the newest first."""

    next: str | None
    previous: str | None
    results: list[MessageState]


class GroupBody(Body):
    """People who can be named at once, wherever some of them are members."""

    id: UUID
    slug: str
    name: str
    people: int


class GroupPage(Body):
    """Groups of people, oldest first."""

    next: str | None
    previous: str | None
    results: list[GroupBody]
