"""Reactions and replies in threads, counted, as far as the one who asks may see them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from accounts.models import User
from chat.models import Assistant, Reaction
from chat.selectors.messages import visible_message
from chat.states import named_author
from protocol.states import AuthorState, OwnTallyState

_OWN = """
SELECT t.message_id, t.seq, t.reactions, ARRAY(
    SELECT r.emoji FROM chat_reaction r
    WHERE r.message_id = t.message_id AND r.user_id = %(user)s AND r.counted ORDER BY r.id
), t.thread_id, t.replies, t.replied_at, t.repliers
FROM chat_tally t
"""
_OF_MESSAGES = f"{_OWN} WHERE t.message_id = ANY(%(messages)s) ORDER BY t.seq"
# One change may stamp several: none of them is cut off.
_SINCE = f"""{_OWN} WHERE t.conversation_id = %(conversation)s AND t.seq > %(since)s
    AND (%(readable_after)s::bigint = 0 OR EXISTS (
        SELECT FROM chat_message m
        WHERE m.id = t.message_id AND m.created_seq > %(readable_after)s::bigint
    ))
ORDER BY t.seq FETCH FIRST %(most)s ROWS WITH TIES"""


def tallies_of(user: User, messages: Iterable[UUID]) -> list[OwnTallyState]:
    """Return the tallies of messages, and what of them is the person's own; the caller has asked
    whether they may see them."""
    asked = list(messages)
    return _read(_OF_MESSAGES, {"user": user.pk, "messages": asked}) if asked else []


def tallies_since(
    user: User, conversation_id: UUID, since: int, *, most: int, readable_after: int = 0
) -> list[OwnTallyState]:
    """Return the tallies changed since, in the order of `seq`.

    If there are `most` or more, there may be further ones, but none of the last one's seq.
    Those of messages whose `created_seq` is not beyond `readable_after` are left out.
    """
    values = {
        "user": user.pk,
        "conversation": conversation_id,
        "since": since,
        "most": most,
        "readable_after": readable_after,
    }
    return _read(_SINCE, values)


def reactions_to(user: User, message_id: UUID, *, emoji: str | None = None) -> QuerySet[Reaction]:
    """Return who reacted to a message, with one emoji or any. Raises NotFound."""
    message = visible_message(user, message_id)
    reactions = Reaction.objects.filter(message=message, given=True, user__isnull=False)
    if emoji is not None:
        reactions = reactions.filter(emoji=emoji)
    return reactions.select_related("user")


def _read(statement: str, values: dict[str, Any]) -> list[OwnTallyState]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    threads = thread_values([row[4:] for row in rows])
    return [
        OwnTallyState.model_validate(
            {
                "message": row[0],
                "seq": row[1],
                "reactions": _json(row[2]),
                "mine": row[3],
                **values,
            }
        )
        for row, values in zip(rows, threads, strict=True)
    ]


def thread_values(rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return what a tally says of a thread, from its columns, with the names of who replied."""
    read = [(*row[:3], [(one["type"], UUID(one["id"])) for one in _json(row[3])]) for row in rows]
    names = authors({who for row in read for who in row[3]})
    return [
        {
            "thread": thread,
            "replies": replies,
            "replied_at": replied_at,
            "repliers": [names[who] for who in repliers if who in names],
        }
        for thread, replies, replied_at, repliers in read
    ]


def authors(who: Iterable[tuple[str, UUID]]) -> Mapping[tuple[str, UUID], AuthorState]:
    """Return those of these people and assistants that there are, by type and id."""
    asked = set(who)
    found: list[User | Assistant] = []
    people = [pk for kind, pk in asked if kind == "user"]
    if people:
        found += User.objects.only("display_name", "is_guest", "username").filter(pk__in=people)
    assistants = [pk for kind, pk in asked if kind == "assistant"]
    if assistants:
        found += Assistant.objects.only("name", "avatar").filter(pk__in=assistants)
    states = [named_author(one) for one in found]
    return {(state.type, state.id): state for state in states}


def _json(value: Any) -> Any:
    # Django leaves jsonb as text to those who write their own statements.
    return json.loads(value) if isinstance(value, str) else value
