"""What REST takes and answers beyond the protocol's own states and the bodies of commands."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from protocol.fields import (
    STORABLE,
    Access,
    Avatar,
    History,
    Kind,
    Language,
    Level,
    ModelName,
    Moment,
    Nickname,
    Role,
    RoomsCursor,
    Slug,
    Title,
    Topic,
    Whole,
)
from protocol.frames import Body
from protocol.states import AssistantState, MemberState, MessageState, RoomState

MAX_PAGE = 200


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


class ConversationPatch(Body):
    """What may be changed of a conversation; what is left out stays as it is."""

    title: Title = ""
    topic_text: Topic = ""
    avatar: Avatar = ""
    access: Access = "private"
    history: History = "all"
    policy: dict[str, Role] = Field(
        default_factory=dict,
        description="The least role for `send`, `ask`, `add` or `describe`, where it is another.",
    )


class Direct(Body):
    """With whom to have a conversation."""

    people: list[UUID] = Field(min_length=1, max_length=100)


class NewMember(Body):
    """A person to add."""

    user: UUID


class MemberPatch(Body):
    """What may be changed of a member."""

    role: Role | None = None
    nickname: Nickname | None = None


class MinePatch(Body):
    """What one may set for oneself alone; what is left out stays as it is."""

    level: Level | None = None
    muted_until: Moment | None = None
    pinned: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="Its place among the pinned, the smallest first; null: unpinned."
    )


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
    more_before: bool
    more_after: bool
