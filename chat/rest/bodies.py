"""What REST takes and answers beyond the protocol's own states and the bodies of commands."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from chat.models import Conversation
from chat.states import conversation_state
from protocol.fields import (
    Kind,
    Language,
    Level,
    ModelName,
    Nickname,
    Role,
    Slug,
    Title,
    Whole,
)
from protocol.frames import Body
from protocol.states import AssistantState, ConversationState, MemberState, MessageState

MAX_PAGE = 200


class NewConversation(Body):
    """A conversation to open."""

    kind: Kind = "assistant"
    assistant: Slug | None = None
    title: Title = ""
    model: ModelName | Literal[""] = ""
    language: Language = ""
    members: list[UUID] = Field(default_factory=list, max_length=100)


class ConversationPatch(Body):
    """What may be changed of a conversation."""

    title: Title


class NewMember(Body):
    """A person to add."""

    user: UUID


class MemberPatch(Body):
    """What may be changed of a member."""

    role: Role | None = None
    nickname: Nickname | None = None
    level: Level | None = None


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


class ConversationItem(ConversationState):
    """A conversation as one of its members lists it."""

    unread: int
    last_read_seq: int
    role: Role
    level: Level
    preview: str


class ConversationPage(Body):
    """Conversations, newest activity first."""

    next: str | None
    previous: str | None
    results: list[ConversationItem]


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


def conversation_item(conversation: Conversation, unread: int) -> ConversationItem:
    """Return a row of `visible_conversations` as its reader lists it."""
    own: Any = conversation  # Annotated by the selector.
    return ConversationItem(
        **conversation_state(conversation).model_dump(),
        unread=unread,
        last_read_seq=own.own_last_read_seq,
        role=own.own_role,
        level=own.own_level,
        preview=own.preview or "",
    )
