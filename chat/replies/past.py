"""The conversation before a reply, as its model is to see it."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import User
from chat.models import Assistant, Conversation, Member, Message
from chat.replies.history import PastMessage

# Rows read at once: most histories that fit a model are one or two of the first size. Where many
# short messages fit, the next page is twice as long, until the last size.
_PAGE = 50
_LONGEST_PAGE = 400
_SAID = (Message.Status.COMPLETE, Message.Status.CANCELLED, Message.Status.INTERRUPTED)
# Upwards from a message, each the one that the message before it was said under.
_BRANCH = """
WITH RECURSIVE branch AS (
    SELECT m.*, 1 AS depth FROM chat_message m WHERE m.id = %s
    UNION ALL
    SELECT m.*, branch.depth + 1 FROM branch JOIN chat_message m ON m.id = branch.parent_id
    WHERE branch.depth < %s
)
SELECT id, parent_id, role, CASE WHEN deleted_at IS NULL THEN content ELSE '' END, status,
       author_user_id, author_assistant_id
FROM branch ORDER BY depth
"""
# Backwards from a reply, all that was said, whatever it was said under: until the message that it
# answers, and other assistants' replies to that.
_LINE = """
SELECT m.id, m.parent_id, m.role, m.content, m.status, m.author_user_id, m.author_assistant_id,
       m.created_seq
FROM chat_message m
WHERE m.conversation_id = %(conversation)s AND m.created_seq < %(before)s
    AND m.created_seq > %(after)s
    AND (m.created_seq <= (SELECT created_seq FROM chat_message WHERE id = %(answered)s)
        OR m.parent_id = %(answered)s AND m.role = 'assistant')
    AND m.status = ANY(%(said)s) AND m.deleted_at IS NULL
ORDER BY m.created_seq DESC LIMIT %(most)s
"""
# What an assistant is told of, as a member of the room.
_READS = """
SELECT m.reads, m.joined_seq FROM chat_member m
WHERE m.conversation_id = %s AND m.assistant_id = %s AND m.left_at IS NULL
"""


class _Row(NamedTuple):
    # Not a whole object: a long history would spend its time on making them.
    id: UUID
    parent_id: UUID | None
    role: str
    content: str
    status: str
    author_user_id: UUID | None
    author_assistant_id: UUID | None
    created_seq: int = 0

    @property
    def is_reply(self) -> bool:
        return self.role == Message.Role.ASSISTANT and self.parent_id is not None

    @property
    def says(self) -> bool:
        return self.status in _SAID and bool(self.content)


def past_messages(reply: Message, conversation: Conversation) -> Iterator[PastMessage]:
    """Yield what was said before `reply` in a conversation, newest first.

    At last, in a thread, the message that it hangs on.

    With an assistant that is its own branch: the message it answers, what that was said under, and
    so on; where a reply on the way said nothing, its newest sibling that did stands for it.
    Elsewhere it is everything until the message it answers, since the assistant joined, with what
    other assistants replied to that; of several replies by one to the same only the newest that
    said something. One that reads no more than its `thread` is told as little as with an
    assistant, and all of a thread or topic; there, the message that it hangs on comes first.
    Deleted messages and replies that are not done are left out. Read page by page, so taking the
    newest few of a long conversation costs only those. Authors have names except with an
    assistant, where nobody needs them.
    """
    if reply.parent_id is None:
        return
    if conversation.kind == Conversation.Kind.ASSISTANT:
        for page in _branch(reply.parent_id):
            yield from (_past(row, {}) for row in page)
        return
    names: _Names = {}
    for page in _in_room(reply, reply.parent_id, conversation):
        _add_names(names, page)
        yield from (_past(row, names) for row in page)


def _past(row: _Row, names: "_Names") -> PastMessage:
    author = row.author_user_id or row.author_assistant_id
    name, handle = names.get(author, ("", ""))
    return PastMessage(
        role=row.role,  # type: ignore[arg-type]
        content=row.content,
        author=author,
        author_name=name,
        author_handle=handle,
        status=row.status,
    )


def _in_room(reply: Message, answered: UUID, conversation: Conversation) -> Iterator[list[_Row]]:
    with connection.cursor() as cursor:
        cursor.execute(_READS, [conversation.members_of, reply.author_assistant_id])
        reads, joined_seq = cursor.fetchone() or (Member.Reads.ROOM, 0)
    inside = conversation.access_id is not None
    if reads == Member.Reads.THREAD and not inside:
        yield _siblings(reply, answered)
        yield from _branch(answered)
        return
    yield from _line(reply, answered, 0 if inside else joined_seq)
    if conversation.root_id is not None:
        yield from _said(conversation.root_id)


def _branch(message_id: UUID) -> Iterator[list[_Row]]:
    following: UUID | None = message_id
    size = _PAGE
    while following is not None:
        with connection.cursor() as cursor:
            cursor.execute(_BRANCH, [following, size])
            rows = [_Row(*row) for row in cursor.fetchall()]
        following = rows[-1].parent_id if len(rows) == size else None
        size = min(2 * size, _LONGEST_PAGE)
        silent = [row.parent_id for row in rows if row.is_reply and not row.says]
        instead = _newest_said(silent) if silent else {}
        page = [instead.get(row.parent_id, row) if row.is_reply else row for row in rows]
        yield [row for row in page if row.says]


def _newest_said(parents: list[UUID | None]) -> dict[UUID | None, _Row]:
    """The newest reply to each of these messages that said something."""
    replies = (
        Message.objects.live()
        .filter(parent__in=parents, role=Message.Role.ASSISTANT, status__in=_SAID)
        .exclude(content="")
    )
    rows = replies.order_by("created_seq").values_list(*_Row._fields)
    return {row[1]: _Row(*row) for row in rows}


def _said(message_id: UUID) -> Iterator[list[_Row]]:
    rows = Message.objects.live().filter(pk=message_id, status__in=_SAID).exclude(content="")
    yield [_Row(*row) for row in rows.values_list(*_Row._fields)]


def _line(reply: Message, answered: UUID, after: int) -> Iterator[list[_Row]]:
    # A sibling of the reply by the same assistant is not part of its history.
    told = {(answered, reply.author_assistant_id)}
    values: dict[str, Any] = {
        "conversation": reply.conversation_id,
        "before": reply.created_seq,
        "after": after,
        "answered": answered,
        "said": list(_SAID),
        "most": _PAGE,
    }
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_LINE, values)
            found = [_Row(*row) for row in cursor.fetchall()]
        page = []
        for row in found:
            if row.parent_id is not None and row.is_reply:
                key = (row.parent_id, row.author_assistant_id)
                if not row.content or key in told:
                    continue
                told.add(key)
            page.append(row)
        yield page
        if len(found) < values["most"]:
            return
        values |= {
            "before": found[-1].created_seq,
            "most": min(2 * values["most"], _LONGEST_PAGE),
        }


def _siblings(reply: Message, answered: UUID) -> list[_Row]:
    """What other assistants replied to the same, the newest first."""
    replies = (
        Message.objects.said()
        .filter(parent=answered, role=Message.Role.ASSISTANT, status__in=_SAID)
        .filter(created_seq__lt=reply.created_seq)
        .exclude(author_assistant=reply.author_assistant_id)
    )
    found: dict[UUID | None, _Row] = {}
    for row in replies.order_by("-created_seq").values_list(*_Row._fields):
        found.setdefault(_Row(*row).author_assistant_id, _Row(*row))
    return list(found.values())


# By author, the name and what stands after the @.
_Names = dict[UUID | None, tuple[str, str]]


def _add_names(names: _Names, rows: Iterable[_Row]) -> None:
    """Look up the authors that `names` has not got yet; a later page rarely has any."""
    authors = {(row.author_user_id, row.author_assistant_id) for row in rows}
    people = [user for user, _ in authors if user and user not in names]
    personas = [assistant for _, assistant in authors if assistant and assistant not in names]
    if people:
        found = User.objects.only("display_name", "is_guest", "username").filter(pk__in=people)
        names.update((user.pk, (user.name, user.username)) for user in found)
    if personas:
        spoke = Assistant.objects.filter(pk__in=personas).values_list("pk", "name", "slug")
        names.update((pk, (name, slug)) for pk, name, slug in spoke)
