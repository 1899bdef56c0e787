"""What a forum lists of its topics and follows from what happens in them.

A message or vote in a topic only marks the topic as stale. At most every INTERVAL its row is
brought up to date, in one change of the forum: soon after the first of them by a thread of the
process that took it, and what that missed, as when the process died, is found by the worker
(`refresh_missed`).
"""

import math
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import User
from chat.change import Change, changing
from chat.models import Conversation, Message, Topic
from core.errors import NotFound
from core.pacing import Paced

INTERVAL = 10.0  # seconds between two refreshments of one topic
# What is twelve and a half hours younger is as hot as what has ten times as much to it.
_DECAY: Final = 45_000.0

NOT_ACCEPTED: Final = {"accepted_id": None, "accepted_by_id": None, "accepted_at": None}

_WAITS = """
SELECT forum_id, coalesce(
    %(pause)s - extract(epoch FROM clock_timestamp() - refreshed_at)::float, 0
) FROM chat_topic WHERE conversation_id = %(topic)s AND stale
"""
_COUNTS = """
SELECT c.active_at,
    coalesce((SELECT votes FROM chat_tally WHERE message_id = t.first_message_id), 0),
    c.number - (
        SELECT count(*) FROM chat_message
        WHERE conversation_id = c.id AND deleted_at IS NOT NULL AND number IS NOT NULL
    ) - (
        SELECT count(*) FROM chat_message WHERE id = t.first_message_id AND deleted_at IS NULL
    )
FROM chat_topic t JOIN chat_conversation c ON c.id = t.conversation_id
WHERE t.conversation_id = %(topic)s
"""
_MISSED = "SELECT conversation_id FROM chat_topic WHERE stale LIMIT 100"


def hotness(*, votes: int, replies: int, created_at: datetime) -> float:
    """Return what orders topics by votes and replies, decayed by age."""
    return math.log10(1 + votes + replies) + created_at.timestamp() / _DECAY


def moved(change: Change) -> None:
    """Note, in its change, that something happened in a conversation, if it is a topic."""
    topic_id = change.conversation.pk
    if change.conversation.kind != Conversation.Kind.DISCUSSION:
        return
    # Also if it is stale already: who refreshes it waits for this transaction then.
    Topic.objects.filter(pk=topic_id).update(stale=True)
    transaction.on_commit(lambda: _refreshing.soon(topic_id), robust=True)


def mirror(change: Change) -> None:
    """Let a topic's row have the title of its conversation, and be closed with it."""
    conversation = change.conversation
    if conversation.kind == Conversation.Kind.DISCUSSION and conversation.parent_id is not None:
        with changing(conversation.parent_id) as forum:
            forum.swap_topic(
                Topic.objects.filter(pk=conversation.pk),
                title=conversation.title,
                closed=conversation.archived_at is not None,
            )


def remove(change: Change) -> None:
    """Delete a topic's row, in the change that deletes its conversation."""
    conversation = change.conversation
    if conversation.kind == Conversation.Kind.DISCUSSION and conversation.parent_id is not None:
        with changing(conversation.parent_id) as forum:
            topic = forum.swap_topic(Topic.objects.filter(pk=conversation.pk), deleted=True)
            if topic is not None:
                forum.touch(removed=topic)


def forget_answer(change: Change, message: Message) -> None:
    """Accept a message no more, in the change that deletes it; its topic is not solved then."""
    topics = Topic.objects.filter(pk=change.conversation.pk, accepted=message)
    if change.conversation.kind != Conversation.Kind.DISCUSSION or not topics.exists():
        return
    with changing(change.room.pk) as forum:
        forum.swap_topic(topics, **NOT_ACCEPTED, solved=False)


def give_topic(change: Change, *, of: User, to: User) -> None:
    """Let a topic that somebody began, or solved, be another's, as two accounts become one."""
    if change.conversation.kind != Conversation.Kind.DISCUSSION:
        return
    topics = Topic.objects.filter(pk=change.conversation.pk)
    topic = topics.filter(Q(author=of) | Q(accepted_by=of)).first()
    if topic is None:
        return
    values: dict[str, Any] = {}
    if topic.author_id == of.pk:
        values["author"] = to
        same = Topic.objects.filter(forum=topic.forum_id, author=to, client_id=topic.client_id)
        if same.exists():
            # The same `client_id` by both is no sign that they began the same.
            values["client_id"] = topic.pk.hex
    if topic.accepted_by_id == of.pk:
        values["accepted_by_id"] = to.pk
    with changing(topic.forum_id) as forum:
        forum.swap_topic(topics, **values)


def refresh_topic(*, topic_id: UUID) -> float:
    """Bring a stale topic's row up to date, in one change of its forum; not within INTERVAL.

    Returns the seconds after which to come again, 0 if it is up to date.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAITS, {"topic": topic_id, "pause": INTERVAL})
        found = cursor.fetchone()
    if found is None:
        return 0.0
    forum_id, waits = found
    if waits > 0:
        return float(waits)
    try:
        with changing(forum_id) as change:
            _refresh(change, topic_id)
    except NotFound:
        Topic.objects.filter(pk=topic_id).update(stale=False)
    return 0.0


def _refresh(change: Change, topic_id: UUID) -> None:
    rows = Topic.objects.filter(pk=topic_id, stale=True)
    # Locked before it is counted: whoever is about to make it stale has not committed yet.
    topic = rows.select_for_update().first()
    if topic is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {"topic": topic_id})
        active_at, votes, replies = cursor.fetchone()
    counted: dict[str, Any] = {
        "active_at": active_at,
        "votes": votes,
        "replies": max(replies, 0),
        "hot": hotness(votes=votes, replies=max(replies, 0), created_at=topic.created_at),
    }
    rows.update(stale=False, refreshed_at=Now())
    if any(getattr(topic, name) != value for name, value in counted.items()):
        change.swap_topic(Topic.objects.live().filter(pk=topic_id), **counted)


def refresh_missed() -> None:
    """Bring up to date what no process has, because it died or the database was away."""
    for topic_id in _missed():
        refresh_topic(topic_id=topic_id)


def _missed() -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_MISSED)
        return [row[0] for row in cursor.fetchall()]


def stop() -> None:
    """End the thread that refreshes; what it leaves is found by `refresh_missed`."""
    _refreshing.stop()


_refreshing = Paced("topics", lambda topic_id: refresh_topic(topic_id=topic_id))
