"""The conversation before a reply, as its model is to see it."""

from collections.abc import Iterator

from chat.models import Message
from chat.selectors.messages import messages_with_authors

# Rows read at once; most histories that fit a model are one or two of these.
_PAGE = 40
_SAID = (Message.Status.COMPLETE, Message.Status.CANCELLED, Message.Status.INTERRUPTED)


def turns_before(reply: Message) -> Iterator[Message]:
    """Yield what was said before `reply`, newest first: its own turn, then what came before.

    Read page by page, so taking the newest few of a long conversation costs only those. Deleted
    messages and replies that are not done are left out; of several replies to one turn only the
    newest that said something is in.
    """
    parent = reply.parent
    if parent is None:
        return
    answered = {parent.pk}  # a sibling of this reply is not part of its history
    before = parent.created_seq + 1
    while True:
        page = list(
            messages_with_authors()
            .filter(
                conversation_id=reply.conversation_id,
                created_seq__lt=before,
                status__in=_SAID,
                deleted_at=None,
            )
            .order_by("-created_seq")[:_PAGE]
        )
        for message in page:
            if message.role == Message.Role.ASSISTANT and message.parent_id is not None:
                if message.parent_id in answered:
                    continue
                answered.add(message.parent_id)
            yield message
        if len(page) < _PAGE:
            return
        before = page[-1].created_seq
