"""Saying something, saying it differently, and taking it back."""

import math
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from chat.change import Change, changing, conversation_of
from chat.errors import RepliesUsedUp, Silenced, SlowDown
from chat.models import Assistant, Conversation, Member, Message, ReplyChunk
from chat.permissions import may, require, require_role
from chat.selectors.messages import SendPreconditions, send_preconditions
from chat.services.audit import record
from chat.services.conversations import require_model, require_open
from chat.services.mentions import (
    NOBODY,
    Named,
    begin_mentions,
    change_mentions,
    end_mentions,
    named_in,
)
from chat.services.replies import in_order, start_reply
from chat.services.reply_actions import (
    STOP_SIGNAL,
    active_replies,
    readable_message,
    require_not_silenced,
    stop_reply,
)
from chat.services.revisions import keep_wording
from chat.services.topic_rows import forget_answer, moved
from core.errors import Conflict, Invalid, NotAllowed, NotFound
from core.jobs import signal_workers_on_commit


class SentMessage(NamedTuple):
    """A stored message, the reply it started, and whether this call is what stored it."""

    message: Message
    reply: Message | None
    created: bool


def send_message(
    *,
    user: User,
    conversation_id: UUID,
    client_id: str,
    content: str,
    parent: UUID | None = None,
    assistant: str | None = None,
    model: str | None = None,
    language: str = "",
) -> SentMessage:
    """Store a message, the pending reply to it and the reply's job, in one transaction.

    The same `client_id` by the same person gives the message stored first and changes nothing.
    In a conversation with an assistant every message is replied to; elsewhere by the member named
    as `assistant` (its slug) and those named in the text, else by the one whose reply `parent` is,
    and by those that hear everything. They reply one after another.
    Raises NotFound, Invalid for an unknown parent, assistant or model or a forum, NotAllowed,
    ReadOnly, TooManyMentions, RepliesUsedUp, Silenced, SlowDown, Conflict if too many replies
    wait already.
    """
    with changing(conversation_id) as change:
        return say(
            change=change,
            user=user,
            client_id=client_id,
            content=content,
            parent=parent,
            assistant=assistant,
            model=model,
            language=language,
        )


def say(
    *,
    change: Change,
    user: User,
    client_id: str,
    content: str,
    parent: UUID | None = None,
    assistant: str | None = None,
    model: str | None = None,
    language: str = "",
    again: bool = False,
) -> SentMessage:
    """Do what `send_message` does, in the caller's change.

    `again`: it was said elsewhere in the room just now, which counts once for slow mode.
    """
    preconditions = send_preconditions(
        user,
        change.conversation,
        client_id=client_id,
        room=change.room,
        parent=parent,
        slug=assistant,
    )
    role = preconditions.role
    if role is None:
        raise NotFound
    if preconditions.sent_before:
        return _sent_before(change.conversation, user, client_id)
    require_open(change)
    require_role("send", role, change.room)
    if preconditions.silenced_until is not None:
        raise Silenced(until=preconditions.silenced_until.isoformat())
    _require_place(change, parent)
    if assistant is not None or change.conversation.kind == Conversation.Kind.ASSISTANT:
        require_role("ask", role, change.room)
    named = named_in(change.conversation, content, by=user.pk)
    if named.everyone:
        require_role("mention_all", role, change.room)
    if again:
        # Who is asked was asked there.
        named = named._replace(assistants=[])
        preconditions = preconditions._replace(answered=None, hearing=[])
    elif named.assistants:
        require_role("ask", role, change.room)
    if change.room.slow_seconds and not again:
        _take_turn(change.room, user, preconditions)
    return _say(
        change,
        user,
        client_id=client_id,
        content=content,
        named=named,
        parent_id=_parent_id(change.conversation, parent, preconditions),
        assistant=_replier(change.conversation, assistant, preconditions),
        preconditions=preconditions,
        model=model,
        language=language,
    )


def _require_place(change: Change, parent: UUID | None) -> None:
    """Raise Conflict for a reply that this room wants elsewhere, Invalid in a forum."""
    threads = change.room.threads
    if change.conversation.kind == Conversation.Kind.FORUM:
        raise Invalid("In a forum it is said in topics.")
    if change.conversation.kind == Conversation.Kind.THREAD:
        if threads == Conversation.Threads.OFF:
            raise Conflict("There are no threads in this room.")
    elif (
        parent is not None
        and threads == Conversation.Threads.ONLY
        and change.conversation.kind != Conversation.Kind.ASSISTANT
    ):
        raise Conflict("In this room one replies in threads.")


def edit_message(
    *,
    user: User,
    message_id: UUID,
    client_id: str,
    content: str,
    model: str | None = None,
    language: str = "",
) -> SentMessage:
    """Reword a message of one's own.

    In a conversation with an assistant that begins a branch: another message in the same place,
    with a reply of its own, while what was said under the old wording stays; replies to it that
    are still being made are stopped. The same `client_id` gives the branch made first. Elsewhere
    the message is changed in place and marked as edited.
    Raises NotFound; NotAllowed for another's message; Silenced; Invalid for a reply or an unknown
    model; Conflict if it is deleted, or if too many replies wait already.
    """
    with changing(conversation_of(message_id)) as change:
        member = change.member(user)
        message = readable_message(change, member, message_id)
        if message.role != Message.Role.USER:
            raise Invalid("Only what a person wrote can be edited.", field="message")
        if message.author_user_id != user.pk:
            raise NotAllowed(
                "Only its author may edit a message.", action="edit_others", needs="author"
            )
        require("edit_own", member, change.room)
        require_open(change)
        require_not_silenced(member)
        if message.deleted_at is not None:
            raise Conflict("This message was deleted.")
        if change.conversation.kind != Conversation.Kind.ASSISTANT:
            return SentMessage(_reword(change, member, message, content), None, created=False)
        if send_preconditions(user, change.conversation, client_id=client_id).sent_before:
            return _sent_before(change.conversation, user, client_id)
        for reply in active_replies(message):
            stop_reply(change=change, reply=reply)
        # Those that were stopped do not wait any more.
        preconditions = send_preconditions(user, change.conversation, client_id=client_id)
        return _say(
            change,
            user,
            client_id=client_id,
            content=content,
            named=NOBODY,
            parent_id=message.parent_id,
            assistant=_replier(change.conversation, None, preconditions),
            preconditions=preconditions,
            model=model,
            language=language,
        )


def delete_message(*, user: User, message_id: UUID, reason: str = "") -> Message:
    """Delete a message: its place in the conversation stays.

    One's own, or as a moderator anybody's, for a `reason`. Replies to it that are still being made
    are stopped; one that is deleted while it is made is ended, and its worker's text comes too
    late. In a room what it said is kept for moderators for REVISIONS_KEPT days, else it is gone.
    A deleted message is returned as it is. Raises NotFound, or NotAllowed for another's message.
    """
    with changing(conversation_of(message_id)) as change:
        member = change.member(user)
        message = readable_message(change, member, message_id)
        own = message.author_user_id == user.pk
        require("delete_own" if own else "delete_others", member, change.room)
        if message.deleted_at is None:
            delete_in(change=change, message=message, by=user)
            if not own:
                record_deletion(change=change, message=message, by=user, reason=reason)
        return message


def delete_in(*, change: Change, message: Message, by: User) -> None:
    """Do what `delete_message` does, in the caller's change, whoever asks."""
    for reply in active_replies(message):
        stop_reply(change=change, reply=reply)
    if message.status in Message.ACTIVE:
        # Its worker is woken to stop, and finds that the reply is no longer its own.
        message.status = Message.Status.CANCELLED
        ReplyChunk.objects.filter(message_id=message.pk).delete()
        signal_workers_on_commit(STOP_SIGNAL, message=message.pk.hex)
    keep_wording(room=change.room, message=message, by=by)
    message.deleted_at, message.deleted_by = timezone.now(), by
    message.pinned_at = message.pinned_by = None
    message.content = message.reasoning = message.refusal = ""
    message.tool_calls = []
    end_mentions(message=message)
    change.changed(
        message,
        *("status", "deleted_at", "deleted_by", "pinned_at", "pinned_by"),
        *("content", "reasoning", "refusal", "tool_calls", "mentions", "mentions_all"),
    )
    change.touch(removed=message)
    forget_answer(change, message)
    moved(change)


def record_deletion(
    *, change: Change, message: Message, by: User, reason: str, as_staff: bool = False
) -> None:
    """Note that somebody deleted what another, or an assistant, had said."""
    record(
        change.room,
        "message.deleted",
        by=by,
        person=message.author_user_id,
        message=message,
        as_staff=as_staff,
        reason=reason,
    )


def _take_turn(room: Conversation, user: User, preconditions: SendPreconditions) -> None:
    """Note when somebody last said something in a room. Raises SlowDown if it is too soon.

    Its topics and threads have locks of their own, so the row of the member decides.
    """
    assert preconditions.role is not None
    if may("slow", preconditions.role, room):
        return
    pause = timedelta(seconds=room.slow_seconds)
    member = Member.objects.present().filter(conversation=room, user=user)
    due = member.filter(Q(last_sent_at=None) | Q(last_sent_at__lte=Now() - pause))
    if not due.update(last_sent_at=Now()):
        waits = room.slow_seconds - (preconditions.seconds_since_last or 0.0)
        raise SlowDown(retry_after=max(1, math.ceil(waits)))


def _say(
    change: Change,
    user: User,
    *,
    client_id: str,
    content: str,
    named: Named,
    parent_id: UUID | None,
    assistant: Assistant | None,
    preconditions: SendPreconditions,
    model: str | None,
    language: str,
) -> SentMessage:
    if model is not None:
        require_model(assistant, model)
    message = Message(
        conversation=change.conversation,
        author_user=user,
        role=Message.Role.USER,
        content=content,
        parent_id=parent_id,
        client_id=client_id,
        mentions=named.mentions,
        mentions_all=named.everyone,
    )
    change.created(message)
    begin_mentions(change=change, message=message, named=named)
    waiting = preconditions.waiting_replies
    asked = _asked(change, assistant, named, preconditions)
    replies = [
        start_reply(
            change=change,
            parent=message,
            assistant=one,
            waiting=waiting + number,
            model=(model or "") if one == assistant else "",
            language=language,
        )
        for number, one in enumerate(asked)
    ]
    _let_hear(change, message, preconditions, {one.pk for one in asked}, waiting + len(asked))
    change.touch(said=message)
    moved(change)
    return SentMessage(message, replies[0] if replies else None, created=True)


def _asked(
    change: Change, assistant: Assistant | None, named: Named, preconditions: SendPreconditions
) -> list[Assistant]:
    """Who is asked by a message: those it names, else the one whose reply it answers."""
    if change.conversation.kind == Conversation.Kind.ASSISTANT:
        return [assistant] if assistant is not None else []
    asked = in_order(named.assistants) if named.assistants else []
    if assistant is not None and assistant not in asked:
        asked.append(assistant)
    if not asked and preconditions.answered is not None and _may_ask(change, preconditions):
        return _present(change, [preconditions.answered])
    return asked


def _let_hear(
    change: Change,
    message: Message,
    preconditions: SendPreconditions,
    asked: set[UUID],
    waiting: int,
) -> None:
    """Let those reply that hear whatever is said, as far as there is room for it."""
    hearing = [one for one in preconditions.hearing if one not in asked]
    if (
        not hearing
        or change.conversation.kind == Conversation.Kind.ASSISTANT
        or not _may_ask(change, preconditions)
    ):
        return
    for number, assistant in enumerate(in_order(hearing)):
        try:
            start_reply(
                change=change, parent=message, assistant=assistant, waiting=waiting + number
            )
        except (Conflict, RepliesUsedUp):
            # Nobody asked for it: what is said goes through.
            return


def _may_ask(change: Change, preconditions: SendPreconditions) -> bool:
    return preconditions.role is not None and may("ask", preconditions.role, change.room)


def _present(change: Change, assistants: list[UUID]) -> list[Assistant]:
    here = Member.objects.present().filter(
        conversation=change.conversation.members_of, assistant__in=assistants
    )
    return in_order([one.assistant_id for one in here if one.assistant_id is not None])


def _reword(change: Change, member: Member, message: Message, content: str) -> Message:
    """Change a message in place. The same wording again changes nothing."""
    if message.content == content:
        return message
    assert member.user is not None
    named = named_in(change.conversation, content, by=member.user.pk)
    before, everyone = message.mentions, message.mentions_all
    if named.everyone and not everyone:
        require("mention_all", member, change.room)
    keep_wording(room=change.room, message=message, by=member.user)
    message.content, message.edited_at = content, timezone.now()
    message.mentions, message.mentions_all = named.mentions, named.everyone
    change.changed(message, "content", "edited_at", "mentions", "mentions_all")
    if before or named.mentions:
        change_mentions(change=change, message=message, named=named, everyone=everyone)
    change.touch()
    return message


def _sent_before(conversation: Conversation, user: User, client_id: str) -> SentMessage:
    message = Message.objects.with_authors().get(
        conversation=conversation, author_user=user, client_id=client_id
    )
    replies = Message.objects.with_authors().filter(parent=message, role=Message.Role.ASSISTANT)
    return SentMessage(message, replies.order_by("pk").first(), created=False)


def _replier(
    conversation: Conversation, slug: str | None, preconditions: SendPreconditions
) -> Assistant | None:
    chosen = preconditions.assistant
    if slug is None:
        return chosen if conversation.kind == Conversation.Kind.ASSISTANT else None
    if chosen is None:
        raise Invalid("That assistant is not in this conversation.", field="assistant")
    if not chosen.is_active:
        raise Conflict("That assistant is switched off.")
    return chosen


def _parent_id(
    conversation: Conversation, parent: UUID | None, preconditions: SendPreconditions
) -> UUID | None:
    """What a new message follows: what its sender says, else, with an assistant, the newest."""
    if parent is not None:
        if not preconditions.parent_is_here:
            raise Invalid("The message replied to is not in this conversation.", field="parent")
        return parent
    return preconditions.newest if conversation.kind == Conversation.Kind.ASSISTANT else None
