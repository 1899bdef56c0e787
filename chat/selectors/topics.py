"""A forum's topics, as far as the one who asks may see them."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import F, Q
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from pydantic import BaseModel, ValidationError

from accounts.models import User
from chat.models import Conversation, Message, Topic, TopicQuerySet
from chat.selectors.conversations import require_member
from core.errors import Invalid, NotFound
from protocol.limits import PAGE

# What each order is by; the pinned ones come first in all of them, the newest id among equals.
SORTS: Final = {
    "active": "active_at",
    "new": "created_at",
    "votes": "votes",
    "hot": "hot",
    "unanswered": "created_at",
}
_STATES: Final = {
    "open": Q(solved=False, closed=False),
    "solved": Q(solved=True),
    "closed": Q(closed=True),
}
# Accepted answers that are looked through for those that are like a question.
_RECENT_ANSWERS: Final = 200


class TopicPage(NamedTuple):
    """Topics in an order, and from where the next page goes on; None if that is all."""

    topics: list[Topic]
    cursor: str | None


class _Cursor(BaseModel, extra="forbid", strict=True):
    """The last topic that was given."""

    sort: str
    pinned: bool
    value: str | float
    id: str


def topic_of(user: User, topic_id: UUID) -> Topic:
    """Return a topic. Raises NotFound."""
    require_member(user.pk, topic_id)
    topic = Topic.objects.live().with_authors().filter(pk=topic_id).first()
    if topic is None:
        raise NotFound
    return topic


def topic_page(
    *,
    user: User,
    forum_id: UUID,
    sort: str = "active",
    tag: str | None = None,
    state: str | None = None,
    q: str = "",
    cursor: str | None = None,
    limit: int = PAGE,
) -> TopicPage:
    """Return up to `limit` topics of a forum, with a tag, in a state, with `q` in their titles.

    Raises NotFound, or Invalid for a `cursor` that no answer in this order gave.
    """
    require_member(user.pk, forum_id)
    by = SORTS[sort]
    topics = Topic.objects.live().with_authors().filter(forum=forum_id)
    if sort == "unanswered":
        topics = topics.filter(solved=False, closed=False, replies=0)
    if tag:
        topics = topics.filter(tags__contains=[tag.lower()])
    if state is not None:
        topics = topics.filter(_STATES[state])
    if q:
        topics = topics.filter(title__icontains=q)
    if cursor is not None:
        topics = _after(topics, by, _read_cursor(cursor, sort))
    found = list(topics.order_by("-pinned", f"-{by}", "-conversation_id")[: limit + 1])
    more = len(found) > limit
    page = found[:limit]
    return TopicPage(page, _write_cursor(page[-1], sort) if more else None)


def newest_topics(forum: Conversation) -> list[Topic]:
    """Return a forum's first page of topics; the caller has asked whether it may be seen."""
    topics = Topic.objects.live().with_authors().filter(forum=forum)
    return list(topics.order_by("-pinned", "-active_at", "-conversation_id")[:PAGE])


def topics_since(forum: Conversation, since: int, *, most: int) -> list[Topic]:
    """Return up to `most` topics that changed since, in the order of `seq`, deleted ones too."""
    topics = Topic.objects.with_authors().filter(forum=forum, seq__gt=since)
    return list(topics.order_by("seq")[:most])


def accepted_answers(topic: Topic, *, most: int) -> list[tuple[str, str]]:
    """Return what was asked and accepted in a topic's forum before and is most like it.

    Titles and answers: those with its tags and the words of its title first, then the newest.
    """
    others = (
        Topic.objects.live()
        .filter(forum=topic.forum_id, accepted__isnull=False)
        .exclude(pk=topic.pk)
        .order_by("-accepted_at")[:_RECENT_ANSWERS]
    )
    words, tags = set(topic.title.lower().split()), set(topic.tags)
    ranked = sorted(
        others,
        key=lambda other: (
            -2 * len(tags & set(other.tags)) - len(words & set(other.title.lower().split()))
        ),
    )
    return _answers(ranked[:most])


def _answers(topics: Sequence[Topic]) -> list[tuple[str, str]]:
    messages = Message.objects.live().in_bulk([topic.accepted_id for topic in topics])
    return [
        (topic.title, messages[topic.accepted_id].content)
        for topic in topics
        if topic.accepted_id in messages
    ]


def _after(topics: TopicQuerySet, by: str, last: _Cursor) -> TopicQuerySet:
    """Those that come after one in the order: rows are compared as the index has them."""
    value: Any = datetime.fromisoformat(str(last.value)) if by.endswith("_at") else last.value
    row = Tuple(F("pinned"), F(by), F("conversation_id"))
    return topics.filter(TupleLessThan(row, (last.pinned, value, UUID(last.id))))


def _read_cursor(cursor: str, sort: str) -> _Cursor:
    try:
        last = _Cursor.model_validate_json(base64.urlsafe_b64decode(cursor.encode("ascii")))
        UUID(last.id)
        is_time = SORTS[sort].endswith("_at")
        if last.sort != sort or isinstance(last.value, str) is not is_time:
            raise ValueError(sort)
        if is_time and datetime.fromisoformat(str(last.value)).tzinfo is None:
            raise ValueError("a time without a zone")
        if sort == "votes" and not 0 <= float(last.value) < 2**31:
            raise ValueError("no number of votes")
    except (ValidationError, ValueError, binascii.Error):
        raise Invalid("This was not given by an answer in this order.", field="cursor") from None
    return last


def _write_cursor(topic: Topic, sort: str) -> str:
    value = getattr(topic, SORTS[sort])
    last = _Cursor(
        sort=sort,
        pinned=topic.pinned,
        value=value.isoformat() if isinstance(value, datetime) else value,
        id=str(topic.pk),
    )
    return base64.urlsafe_b64encode(last.model_dump_json().encode()).decode("ascii")
