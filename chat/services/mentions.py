"""Whom a message names: `@` and a user name, an assistant's or a group's slug, `all` or `everyone`.

Only those who are in the conversation can be named. Code and links name nobody.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from chat.change import Change
from chat.errors import TooManyMentions
from chat.models import Conversation, Mention, Message
from protocol.limits import MAX_MENTIONS, MAX_NAMED

# Different names of one text that are looked up: the first ones.
_LOOKED_UP: Final = 500
_EVERYONE: Final = frozenset({"all", "everyone"})

# What user names and slugs are made of, and marks that belong to the letter before. What stands
# before it may not make an address or a longer word of it.
_NAME: Final = re.compile(r"(?<![^\W_])(?<![@./\\+-])@([\w.+\u0300-\u036f-]+)")
_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_TICKS: Final = re.compile("`+")
_LINKS: Final = re.compile(
    r"<[A-Za-z][A-Za-z0-9+.-]*:[^\s<>]*>|\[[^\[\]\n]*\]\([^()\s]*\)|(?:https?://|www\.)\S+",
    re.IGNORECASE,
)

# An assistant before a group before a person: nobody takes the name of what an operator has made.
_WHO = """
WITH wanted AS (SELECT name, lower(name) AS low FROM unnest(%(names)s::text[]) AS name)
SELECT w.name, 'assistant', a.id, NULL::uuid[]
FROM wanted w
JOIN chat_assistant a ON lower(a.slug) = w.low
JOIN chat_member m
    ON m.conversation_id = %(room)s AND m.assistant_id = a.id AND m.left_at IS NULL
UNION ALL
SELECT w.name, 'group', g.id, ARRAY(
    SELECT m.user_id FROM chat_group_people p
    JOIN chat_member m
        ON m.conversation_id = %(room)s AND m.user_id = p.user_id AND m.left_at IS NULL
    WHERE p.group_id = g.id AND NOT EXISTS (
        SELECT FROM chat_block b
        WHERE b.user_id = p.user_id AND b.blocked_id = %(by)s::uuid AND b."on"
    )
    LIMIT %(most)s + 1
)
FROM wanted w JOIN chat_group g ON lower(g.slug) = w.low
UNION ALL
SELECT w.name, 'user', u.id, ARRAY(
    SELECT u.id WHERE NOT EXISTS (
        SELECT FROM chat_block b
        WHERE b.user_id = u.id AND b.blocked_id = %(by)s::uuid AND b."on"
    )
)
FROM wanted w
JOIN accounts_user u ON lower(u.username) = w.low
JOIN chat_member m ON m.conversation_id = %(room)s AND m.user_id = u.id AND m.left_at IS NULL
"""


class Named(NamedTuple):
    """Whom a text names; `people` are those to be told, and why."""

    mentions: list[dict[str, Any]]
    everyone: bool
    people: dict[UUID, str]
    assistants: list[UUID]  # as they are named, each once


NOBODY: Final = Named([], everyone=False, people={}, assistants=[])


class _At(NamedTuple):
    start: int
    name: str  # as it is written, without the @


def named_in(conversation: Conversation, content: str, *, by: UUID | None) -> Named:
    """Return whom a text names of those who are in a locked conversation.

    Those who block who says it (`by`) are not told. One statement, and none for a text without a
    name in it. Raises TooManyMentions.
    """
    # Alone with an assistant there is nobody to name.
    if "@" not in content or conversation.kind == Conversation.Kind.ASSISTANT:
        return NOBODY
    places = list(_names(content))
    if not places:
        return NOBODY
    found = _look_up(conversation, places, by)
    mentions: list[dict[str, Any]] = []
    people: dict[UUID, str] = {}
    everyone = False
    for place in places:
        for name in _readings(place.name):
            who = ("all", None, []) if _key(name) in _EVERYONE else found.get(_key(name))
            if who is not None:
                break
        else:
            continue
        kind, identity, persons = who
        everyone = everyone or kind == "all"
        for person in persons:
            if kind == "user" or person not in people:
                people[person] = Mention.Reason.NAME if kind == "user" else Mention.Reason.GROUP
        mentions.append(
            {
                "type": kind,
                "id": None if identity is None else str(identity),
                "start": place.start,
                "length": 1 + len(name),
            }
        )
    if len(mentions) > MAX_MENTIONS:
        raise TooManyMentions(most=MAX_MENTIONS)
    if len(people) > MAX_NAMED:
        raise TooManyMentions("This message names too many people.", most=MAX_NAMED)
    assistants = [UUID(one["id"]) for one in mentions if one["type"] == "assistant"]
    return Named(mentions, everyone, people, list(dict.fromkeys(assistants)))


def begin_mentions(*, change: Change, message: Message, named: Named) -> None:
    """Tell those whom a new message names, once it is saved with its `mentions`."""
    people = {who: why for who, why in named.people.items() if who != message.author_user_id}
    _add(message, people)
    if people or named.everyone:
        change.named(message, people, everyone=named.everyone)


def change_mentions(*, change: Change, message: Message, named: Named, everyone: bool) -> None:
    """Make a reworded message name these; `everyone` is whether it named all before.

    Only those who were not named before are new to it.
    """
    people = {who: why for who, why in named.people.items() if who != message.author_user_id}
    rows = Mention.objects.filter(message=message)
    before = dict(rows.values_list("user_id", "reason"))
    gone = before.keys() - people.keys()
    if gone:
        rows.filter(user__in=gone).delete()
    _add(message, {who: why for who, why in people.items() if who not in before})
    if before.keys() != people.keys() or named.everyone != everyone:
        change.named(message, people, everyone=named.everyone)


def end_mentions(*, message: Message) -> None:
    """Let a message name nobody, as it is deleted; its caller saves it."""
    if message.mentions:
        Mention.objects.filter(message=message).delete()
    message.mentions, message.mentions_all = [], False


def _add(message: Message, people: dict[UUID, str]) -> None:
    if people and message.number is not None:
        Mention.objects.bulk_create(
            Mention(
                user_id=person,
                conversation_id=message.conversation_id,
                number=message.number,
                message=message,
                reason=reason,
            )
            for person, reason in people.items()
        )


# --- What is written ---------------------------------------------------------------------------


def _names(content: str) -> Iterator[_At]:
    for match in _NAME.finditer(_prose(content)):
        yield _At(match.start(), match[1])


def _readings(name: str) -> list[str]:
    """What a name may be: as it is written, or without what ends a sentence or an emphasis."""
    bare = name.rstrip("._+-")
    return [name] if bare in {name, ""} else [name, bare]


def _key(name: str) -> str:
    """A name as user names are stored, in its one spelling."""
    return unicodedata.normalize("NFKC", name).lower()


def _look_up(
    conversation: Conversation, places: list[_At], by: UUID | None
) -> dict[str, tuple[str, UUID | None, list[UUID]]]:
    readings = (_key(name) for place in places for name in _readings(place.name))
    names = list(dict.fromkeys(readings))[:_LOOKED_UP]
    values: dict[str, Any] = {
        "names": names,
        "room": conversation.members_of,
        "most": MAX_NAMED,
        "by": by,
    }
    found: dict[str, tuple[str, UUID | None, list[UUID]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_WHO, values)
        for name, kind, identity, people in cursor.fetchall():
            # A group of whom nobody is here is not known here.
            if name not in found and (kind != "group" or people):
                found[name] = (kind, identity, people or [])
    return found


def _prose(text: str) -> str:
    """Return a text with its code and its links blanked, every other character in its place."""
    blocks: list[list[str]] = [[]]
    fence = ""
    after_blank, indented = True, False
    for line in text.splitlines(keepends=True):
        blank = not line.strip()
        opening = _FENCE.match(line)
        if fence:
            mark = line.strip()
            if len(mark) >= len(fence) and set(mark) == {fence[0]}:
                fence = ""
            code = True
        elif opening:
            fence, code = opening[1], True
        else:
            indented = not blank and line.startswith(("    ", "\t")) and (after_blank or indented)
            code = indented
        if code or blank:
            blocks += [[" " * len(line)], []]
        else:
            blocks[-1].append(line)
        after_blank = blank
    return "".join(_outside_spans("".join(block)) for block in blocks)


def _outside_spans(paragraph: str) -> str:
    """Blank what stands between equal runs of backticks, and links."""
    runs = list(_TICKS.finditer(paragraph))
    if runs:
        latest: dict[int, int] = {}
        closing: dict[int, int] = {}
        for at in range(len(runs) - 1, -1, -1):
            length = len(runs[at][0])
            if length in latest:
                closing[at] = latest[length]
            latest[length] = at
        parts, end, at = [], 0, 0
        while at < len(runs):
            if at not in closing:
                at += 1
                continue
            last = runs[closing[at]]
            parts += [paragraph[end : runs[at].start()], " " * (last.end() - runs[at].start())]
            end, at = last.end(), closing[at] + 1
        paragraph = "".join([*parts, paragraph[end:]])
    return _LINKS.sub(lambda match: " " * len(match[0]), paragraph)
