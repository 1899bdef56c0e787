"""What REST takes and answers beyond the protocol's own states."""

from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chat.models import Conversation
from chat.states import conversation_state
from core.errors import Invalid
from protocol.commands import validation_fields
from protocol.fields import ClientId, Content, Kind, Level, ModelName, Role, Seq, Text, Title
from protocol.states import AssistantState, ConversationState, MemberState, MessageState

B = TypeVar("B", bound=BaseModel)

Slug = Annotated[Text, Field(min_length=1, max_length=60)]
Language = Annotated[str, Field(max_length=35, pattern=r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewConversation(_Body):
    """A conversation to open."""

    kind: Kind = "assistant"
    assistant: Slug | None = None
    title: Title = ""
    model: ModelName | Literal[""] = ""
    language: Language = ""
    members: list[UUID] = Field(default_factory=list, max_length=100)


class ConversationPatch(_Body):
    """What may be changed of a conversation."""

    title: Title


class NewMessage(_Body):
    """A message to send; the same `client_id` twice is one message."""

    client_id: ClientId
    content: Content
    parent: UUID | None = None
    assistant: Slug | None = None
    model: ModelName | None = None
    language: Language = ""


class MessagePatch(_Body):
    """Another wording; `client_id` is that of the message a branch makes."""

    client_id: ClientId
    content: Content


class NewMember(_Body):
    """A person to add."""

    user: UUID


class MemberPatch(_Body):
    """What may be changed of a member."""

    role: Role | None = None
    nickname: Annotated[Text, Field(max_length=80)] | None = None
    level: Level | None = None


class ReadMark(_Body):
    """How far one has read."""

    seq: Seq


class ConversationItem(ConversationState):
    """A conversation as one of its members lists it."""

    unread: int
    last_read_seq: int
    role: Role
    level: Level
    preview: str


class ConversationPage(_Body):
    """Conversations, newest activity first."""

    next: str | None
    previous: str | None
    results: list[ConversationItem]


class AssistantPage(_Body):
    """Assistants a conversation may be opened with."""

    next: str | None
    previous: str | None
    results: list[AssistantState]


class MemberPage(_Body):
    """Present members, in joining order."""

    next: str | None
    previous: str | None
    results: list[MemberState]


class MessagePageBody(_Body):
    """Messages in conversation order, and whether there are more on either side."""

    results: list[MessageState]
    more_before: bool
    more_after: bool


class SentMessageBody(_Body):
    """The stored message, and the reply that was started, if one was."""

    message: MessageState
    reply: MessageState | None


class MessageBody(_Body):
    """A message as it is now."""

    message: MessageState


def parse(body: type[B], data: Any) -> B:
    """Return `data` as a `body`. Raises Invalid, naming each field and never its value."""
    try:
        return body.model_validate(data)
    except ValidationError as error:
        raise Invalid(fields=validation_fields(error)) from None


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
