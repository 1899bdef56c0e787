"""What messages said before they were reworded or deleted, kept for moderators for a while."""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from accounts.models import User
from chat.models import Conversation, Message, Revision

# Rows in one statement.
_AT_ONCE: Final = 1000

_ERASE_WORDINGS = """
DELETE FROM chat_revision WHERE id IN (
    SELECT id FROM chat_revision WHERE at < %s ORDER BY at LIMIT %s
)
"""
_ERASE_REPORTED = """
UPDATE chat_report SET content = '', note = '' WHERE id IN (
    SELECT id FROM chat_report
    WHERE resolved_at < %s AND (content <> '' OR note <> '') ORDER BY resolved_at LIMIT %s
)
"""


def keeps_wordings(room: Conversation) -> bool:
    """Say whether former wordings are kept here: where there may be moderators."""
    return settings.REVISIONS_KEPT > 0 and room.kind not in Conversation.CLOSED


def keep_wording(*, room: Conversation, message: Message, by: User) -> None:
    """Keep what a message says before `by` rewords or deletes it, under the conversation's lock."""
    if not message.content or not keeps_wordings(room):
        return
    last = Revision.objects.filter(message=message).aggregate(last=Max("n"))["last"]
    Revision.objects.create(
        message=message, n=(last or 0) + 1, content=message.content, by=by, at=timezone.now()
    )


def erase_wordings() -> int:
    """Erase former wordings older than REVISIONS_KEPT days, and what was reported and decided.

    Returns how many. Each statement is a transaction of its own.
    """
    before = timezone.now() - timedelta(days=settings.REVISIONS_KEPT)
    erased = 0
    for statement in (_ERASE_WORDINGS, _ERASE_REPORTED):
        while True:
            with connection.cursor() as cursor:
                cursor.execute(statement, [before, _AT_ONCE])
                count = cursor.rowcount
            erased += count
            if count < _AT_ONCE:
                break
    return erased
