"""Rows as clients see them: from the models to the protocol's states."""

from accounts.models import User
from chat.models import Assistant, Conversation, Member, Message, PersonStatus, Topic
from protocol.states import (
    AssistantState,
    AuthorState,
    ConversationState,
    MemberState,
    MentionState,
    MessageState,
    PersonState,
    PersonStatusState,
    TopicState,
    UsageState,
)


def person_state(user: User) -> PersonState:
    """Return what other members see of a person."""
    return PersonState(id=user.pk, name=user.name, is_guest=user.is_guest)


def status_state(status: PersonStatus) -> PersonStatusState:
    """Return what a person says of themselves."""
    return PersonStatusState(emoji=status.emoji, text=status.text, until=status.until)


def assistant_state(assistant: Assistant) -> AssistantState:
    """Return what members see of an assistant: no key, no address, no system prompt."""
    return AssistantState(
        id=assistant.pk,
        slug=assistant.slug,
        name=assistant.name,
        avatar=assistant.avatar,
        description=assistant.description,
        model=assistant.model,
        allowed_models=list(assistant.allowed_models),
        language=assistant.language,
    )


def author_state(message: Message) -> AuthorState | None:
    """Return who wrote a message, or None if they are gone."""
    author = message.author_user or message.author_assistant
    return None if author is None else named_author(author)


def named_author(author: User | Assistant) -> AuthorState:
    """Return somebody as those see them who read what they wrote."""
    if isinstance(author, User):
        return AuthorState(
            type="user", id=author.pk, name=author.name, avatar="", is_guest=author.is_guest
        )
    return AuthorState(type="assistant", id=author.pk, name=author.name, avatar=author.avatar)


def message_state(message: Message) -> MessageState:
    """Return a message whole. A deleted one keeps its place and loses its text."""
    usage = None
    if message.input_tokens is not None and message.output_tokens is not None:
        usage = UsageState(
            input_tokens=message.input_tokens,
            output_tokens=message.output_tokens,
            estimated=message.usage_estimated,
        )
    gone = message.deleted_at is not None
    return MessageState(
        id=message.pk,
        conversation=message.conversation_id,
        seq=message.seq,
        created_seq=message.created_seq,
        author=author_state(message),
        role=message.role,  # type: ignore[arg-type]
        content="" if gone else message.content,
        reasoning="" if gone else message.reasoning,
        refusal="" if gone else message.refusal,
        tool_calls=[] if gone else list(message.tool_calls),
        status=message.status,  # type: ignore[arg-type]
        parent=message.parent_id,
        client_id=message.client_id,
        model=message.model,
        attempt=message.attempt,
        usage=usage,
        finish_reason=message.finish_reason,
        error_code=message.error_code,
        created_at=message.created_at,
        edited_at=message.edited_at,
        deleted_at=message.deleted_at,
        deleted_by=message.deleted_by_id,
        pinned_at=message.pinned_at,
        pinned_by=message.pinned_by_id,
        number=message.number,
        mentions=[] if gone else [MentionState(**one) for one in message.mentions],
    )


def member_state(member: Member) -> MemberState:
    """Return a member, as all members see them."""
    return MemberState(
        id=member.pk,
        conversation=member.conversation_id,
        seq=member.seq,
        user=person_state(member.user) if member.user is not None else None,
        assistant=assistant_state(member.assistant) if member.assistant is not None else None,
        role=member.role,  # type: ignore[arg-type]
        nickname=member.nickname,
        hears=member.hears if member.assistant_id is not None else None,  # type: ignore[arg-type]
        reads=member.reads if member.assistant_id is not None else None,  # type: ignore[arg-type]
        invited_by=member.invited_by_id,
        joined_at=member.joined_at,
        left_at=member.left_at,
        silenced_until=member.silenced_until,
    )


def conversation_state(conversation: Conversation) -> ConversationState:
    """Return a conversation as all its members see it."""
    return ConversationState(
        id=conversation.pk,
        kind=conversation.kind,  # type: ignore[arg-type]
        parent=conversation.parent_id,
        root=conversation.root_id,
        members_of=conversation.members_of,
        title=conversation.title,
        topic_text=conversation.topic_text,
        avatar=conversation.avatar,
        access=conversation.access,  # type: ignore[arg-type]
        history=conversation.history,  # type: ignore[arg-type]
        threads=conversation.threads,  # type: ignore[arg-type]
        archived_at=conversation.archived_at,
        seq=conversation.seq,
        changed_seq=conversation.changed_seq,
        creator=conversation.creator_id,
        model=conversation.model,
        language=conversation.language,
        policy=conversation.policy,
        slow_seconds=conversation.slow_seconds,
        responder=conversation.responder_id,
        created_at=conversation.created_at,
        active_at=conversation.active_at,
    )


def topic_state(topic: Topic) -> TopicState:
    """Return a topic, as its forum lists it. A deleted one loses what it was about."""
    author = None
    if topic.author is not None:
        author = AuthorState(type="user", id=topic.author.pk, name=topic.author.name, avatar="")
    return TopicState(
        id=topic.pk,
        forum=topic.forum_id,
        seq=topic.seq,
        number=topic.number,
        title="" if topic.deleted else topic.title,
        author=author,
        first_message=topic.first_message_id,
        accepted=topic.accepted_id,
        accepted_by=topic.accepted_by_id,
        solved=topic.solved,
        closed=topic.closed,
        pinned=topic.pinned,
        deleted=topic.deleted,
        tags=[] if topic.deleted else list(topic.tags),
        votes=topic.votes,
        views=topic.views,
        replies=topic.replies,
        hot=topic.hot,
        created_at=topic.created_at,
        active_at=topic.active_at,
    )
