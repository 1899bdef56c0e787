"""Beginning topics of a forum, changing them, and accepting answers."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from django.utils import timezone

from accounts.models import User
from chat.change import Change, changing, conversation_of
from chat.errors import RepliesUsedUp
from chat.models import Assistant, Conversation, Member, Message, Topic
from chat.permissions import may, require
from chat.services.conversations import require_open
from chat.services.mentions import begin_mentions, named_in
from chat.services.replies import in_order, start_reply
from chat.services.reply_actions import readable_message, require_not_silenced
from chat.services.topic_rows import NOT_ACCEPTED, hotness
from core.errors import Conflict, Invalid


class BegunTopic(NamedTuple):
    """A stored topic, its first message, and whether this call is what stored it."""

    topic: Topic
    message: Message
    created: bool


def create_topic(
    *,
    user: User,
    forum_id: UUID,
    client_id: str,
    title: str,
    content: str,
    tags: Sequence[str] = (),
) -> BegunTopic:
    """Begin a topic: its conversation, its first message and, if the forum names who answers
    first, the pending reply, in one transaction.

    The same `client_id` by the same person gives the topic stored first and changes nothing.
    Raises NotFound, NotAllowed, ReadOnly, Silenced, TooManyMentions, Invalid for what is no forum.
    """
    with changing(forum_id) as forum:
        member = forum.member(user)
        if forum.conversation.kind != Conversation.Kind.FORUM:
            raise Invalid("Only a forum has topics.")
        before = Topic.objects.with_authors().filter(
            forum=forum_id, author=user, client_id=client_id
        )
        topic = before.select_related("first_message", "author").first()
        if topic is not None:
            return BegunTopic(topic, topic.first_message, created=False)
        require("topic", member, forum.room)
        require_open(forum)
        require_not_silenced(member)
        conversation = Conversation.objects.create(
            kind=Conversation.Kind.DISCUSSION,
            title=title,
            creator=user,
            parent=forum.conversation,
            access_id=forum_id,
            language=forum.conversation.language,
        )
        with changing(conversation.pk) as change:
            named = named_in(change.conversation, content, by=user.pk)
            if named.everyone:
                require("mention_all", member, forum.room)
            message = Message(
                conversation=change.conversation,
                author_user=user,
                role=Message.Role.USER,
                content=content,
                client_id=client_id,
                mentions=named.mentions,
                mentions_all=named.everyone,
            )
            change.created(message)
            begin_mentions(change=change, message=message, named=named)
            asked = in_order(named.assistants) if may("ask", member.role, forum.room) else []
            responder = _responder(forum.conversation)
            if responder is not None and responder not in asked:
                asked.insert(0, responder)
            for waiting, assistant in enumerate(asked):
                # A question is asked also where nobody replies to it today.
                with suppress(Conflict, RepliesUsedUp):
                    start_reply(change=change, parent=message, assistant=assistant, waiting=waiting)
            change.touch(said=message)
        topic = Topic(
            conversation=conversation,
            forum=forum.conversation,
            client_id=client_id,
            author=user,
            title=title,
            first_message=message,
            tags=list(tags),
            hot=hotness(votes=0, replies=0, created_at=timezone.now()),
        )
        forum.created_topic(topic)
        forum.touch(said=topic)
    return BegunTopic(topic, message, created=True)


def _responder(forum: Conversation) -> Assistant | None:
    """The assistant that answers first: while it is switched on, and in the forum."""
    if forum.responder_id is None:
        return None
    present = Member.objects.present().filter(conversation=forum)
    named = Assistant.objects.active().filter(pk=forum.responder_id)
    return named.filter(memberships__in=present).first()


def change_topic(*, user: User, topic_id: UUID, **values: Any) -> Topic:
    """Set a topic's `title`, `tags`, `solved`, `closed` or `pinned`.

    By whom it is of, or a moderator; `pinned` by moderators only. What is not solved any more has
    no accepted answer. Raises NotFound, NotAllowed.
    """
    with changing(topic_id) as change:
        topic = _changeable(change, user, values)
        conversation = change.conversation
        own = {}
        if "title" in values:
            own["title"] = values["title"]
        if "closed" in values and values["closed"] != topic.closed:
            own["archived_at"] = timezone.now() if values["closed"] else None
        different = [name for name in own if getattr(conversation, name) != own[name]]
        for name in different:
            setattr(conversation, name, own[name])
        if different:
            change.changed(conversation, *different)
            change.touch()
        if values.get("solved") is False:
            values |= NOT_ACCEPTED
        if any(getattr(topic, name) != value for name, value in values.items()):
            _swap(topic, Topic.objects.filter(pk=topic_id), values)
    return _topic(change)


def accept_answer(*, user: User, message_id: UUID, instead_of: UUID | None = None) -> Topic:
    """Accept an answer in place of what is accepted now, which solves its topic; twice is once.

    By whom the topic is of, or a moderator. Raises NotFound, NotAllowed; Invalid for what is no
    answer; Conflict for one that is deleted or still being made, and if another one than
    `instead_of` is accepted by now.
    """
    with changing(conversation_of(message_id)) as change:
        message = readable_message(change, change.member(user), message_id)
        topic = _changeable(change, user, {"accepted": message})
        if message.pk == topic.first_message_id:
            raise Invalid("A question does not answer itself.", field="message")
        if message.deleted_at is not None:
            raise Conflict("This answer was deleted.")
        if message.status in Message.ACTIVE:
            raise Conflict("This answer is still being written.")
        if topic.accepted_id == message.pk:
            return topic
        accepted = {
            "accepted_id": message.pk,
            "accepted_by_id": user.pk,
            "accepted_at": timezone.now(),
            "solved": True,
        }
        if not _swap(topic, Topic.objects.filter(pk=topic.pk, accepted=instead_of), accepted):
            raise Conflict("Another answer was accepted meanwhile.")
    return _topic(change)


def withdraw_answer(*, user: User, message_id: UUID) -> Topic:
    """Accept an answer no more; one that is not accepted is left as it is. As `accept_answer`."""
    with changing(conversation_of(message_id)) as change:
        message = readable_message(change, change.member(user), message_id)
        topic = _changeable(change, user, {"accepted": None})
        _swap(
            topic,
            Topic.objects.filter(pk=topic.pk, accepted=message),
            {**NOT_ACCEPTED, "solved": False},
        )
    return _topic(change)


def _topic(change: Change) -> Topic:
    """The topic of a locked conversation. Raises Invalid if that is none."""
    topic = Topic.objects.with_authors().filter(pk=change.conversation.pk).first()
    if topic is None:
        raise Invalid("Only a topic of a forum has that.")
    return topic


def _changeable(change: Change, user: User, values: dict[str, Any]) -> Topic:
    """The topic of a locked conversation, for those who may change these of its values."""
    member = change.member(user)
    topic = _topic(change)
    if "pinned" in values:
        require("pin_topic", member, change.room)
    if values.keys() - {"pinned"} and topic.author_id != user.pk:
        require("topics", member, change.room)
    return topic


def _swap(topic: Topic, topics: Any, values: dict[str, Any]) -> bool:
    with changing(topic.forum_id) as forum:
        return forum.swap_topic(topics, **values) is not None
