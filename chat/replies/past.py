"""The conversation before a reply, as its model is to see it."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import User
from chat.models import Assistant, Conversation, Message
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
# Backwards from a message, all that was said, whatever it was said under.
_LINE = """
SELECT m.id, m.parent_id, m.role, m.content, m.status, m.author_user_id, m.author_assistant_id
FROM chat_message m
-- Not a join: the place must be known before the index is walked back from it.
WHERE m.conversation_id = (SELECT conversation_id FROM chat_message WHERE id = %s)
    AND m.created_seq < (SELECT created_seq + %s FROM chat_message WHERE id = %s)
    AND m.status IN (%s, %s, %s) AND m.deleted_at IS NULL
ORDER BY m.created_seq DESC LIMIT %s
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

    @property
    def is_reply(self) -> bool:
        return self.role == Message.Role.ASSISTANT and self.parent_id is not None

    @property
    def says(self) -> bool:
        return self.status in _SAID and bool(self.content)


def past_messages(reply: Message, kind: str, *, root: UUID | None = None) -> Iterator[PastMessage]:
    """Yield what was said before `reply` in a conversation of this kind, newest first.

    At last, in a thread, the message that it hangs on.

    With an assistant that is its own branch: the message it answers, what that was said under, and
    so on; where a reply on the way said nothing, its newest sibling that did stands for it.
    Elsewhere it is everything until the message it answers; of several replies to one only the
    newest that said something. Deleted messages and replies that are not done are left out.
    Read page by page, so taking the newest few of a long conversation costs only those. Authors
    have names except with an assistant, where nobody needs them.
    """
    answered = reply.parent_id
    if answered is None:
        return
    with_assistant = kind == Conversation.Kind.ASSISTANT
    names: dict[UUID | None, str] = {}
    pages = _branch(answered) if with_assistant else _line(answered)
    for page in pages if root is None else chain(pages, _said(root)):
        if not with_assistant:
            _add_names(names, page)
        for row in page:
            author = row.author_user_id or row.author_assistant_id
            yield PastMessage(
                role=row.role,  # type: ignore[arg-type]
                content=row.content,
                author=author,
                author_name=names.get(author, ""),
                status=row.status,
            )


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


def _line(message_id: UUID) -> Iterator[list[_Row]]:
    answered = {message_id}  # a sibling of the reply is not part of its history
    last, inclusive, size = message_id, 1, _PAGE
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_LINE, [last, inclusive, last, *_SAID, size])
            found = [_Row(*row) for row in cursor.fetchall()]
        page = []
        for row in found:
            if row.parent_id is not None and row.is_reply:
                if not row.content or row.parent_id in answered:
                    continue
                answered.add(row.parent_id)
            page.append(row)
        yield page
        if len(found) < size:
            return
        last, inclusive, size = found[-1].id, 0, min(2 * size, _LONGEST_PAGE)


def _add_names(names: dict[UUID | None, str], rows: Iterable[_Row]) -> None:
    """Look up the authors that `names` has not got yet; a later page rarely has any."""
    authors = {(row.author_user_id, row.author_assistant_id) for row in rows}
    people = [user for user, _ in authors if user and user not in names]
    personas = [assistant for _, assistant in authors if assistant and assistant not in names]
    if people:
        found = User.objects.only("display_name", "is_guest", "username").filter(pk__in=people)
        names.update((user.pk, user.name) for user in found)
    if personas:
        names.update(Assistant.objects.filter(pk__in=personas).values_list("pk", "name"))
