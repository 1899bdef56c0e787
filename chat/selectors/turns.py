"""The conversation before a reply, as its model is to see it."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from accounts.models import User
from chat.models import Assistant, Message

# Rows read at once; most histories that fit a model are one or two of these.
_PAGE = 50
_SAID = (Message.Status.COMPLETE, Message.Status.CANCELLED, Message.Status.INTERRUPTED)
# Not whole objects: a long history would spend its time on making them.
_COLUMNS = (
    "created_seq",
    "role",
    "content",
    "status",
    "parent_id",
    "author_user_id",
    "author_assistant_id",
)


class PastTurn(NamedTuple):
    """What a model needs of a message. `author` is a user's or an assistant's id."""

    role: str
    content: str
    status: str
    author: UUID | None
    author_name: str


def turns_before(reply: Message, *, named: bool) -> Iterator[PastTurn]:
    """Yield what was said before `reply`, newest first: its own turn, then what came before.

    Read page by page, so taking the newest few of a long conversation costs only those. Deleted
    messages and replies that are not done are left out; of several replies to one turn only the
    newest that said something is in. Authors have names only if `named`.
    """
    parent = reply.parent
    if parent is None:
        return
    answered = {parent.pk}  # a sibling of this reply is not part of its history
    before = parent.created_seq + 1
    while True:
        rows = list(
            Message.objects.filter(
                conversation_id=reply.conversation_id,
                created_seq__lt=before,
                status__in=_SAID,
                deleted_at=None,
            )
            .order_by("-created_seq")
            .values_list(*_COLUMNS)[:_PAGE]
        )
        names = _names({row[5] for row in rows}, {row[6] for row in rows}) if named else {}
        for _, role, content, status, parent_id, user_id, assistant_id in rows:
            if role == Message.Role.ASSISTANT and parent_id is not None:
                if not content or parent_id in answered:
                    continue
                answered.add(parent_id)
            author = user_id or assistant_id
            yield PastTurn(role, content, status, author, names.get(author, ""))
        if len(rows) < _PAGE:
            return
        before = rows[-1][0]


def _names(users: set[UUID | None], assistants: set[UUID | None]) -> dict[UUID | None, str]:
    people = User.objects.in_bulk([each for each in users if each])
    personas = Assistant.objects.in_bulk([each for each in assistants if each])
    return {
        **{pk: user.name for pk, user in people.items()},
        **{pk: assistant.name for pk, assistant in personas.items()},
    }
