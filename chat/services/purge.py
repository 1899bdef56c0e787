"""What is deleted after the fact, by jobs: what was said in conversations that are gone."""

from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from chat.change import changing
from chat.change.threads import end_threads_of
from chat.models import Conversation, ReadState
from chat.selectors.rooms import AT_HOLDS
from core.errors import NotFound

# Messages in one transaction.
_AT_ONCE = 1000

# The newest first: a message may be the parent of later ones only.
_PURGE = """
WITH gone AS (
    DELETE FROM chat_message WHERE id IN (
        SELECT m.id FROM chat_message m JOIN chat_conversation c ON c.id = m.conversation_id
        WHERE c.id = ANY(%s) AND c.deleted_at IS NOT NULL
        ORDER BY m.created_seq DESC LIMIT %s
    ) RETURNING id
), reactions AS (
    DELETE FROM chat_reaction WHERE message_id IN (SELECT id FROM gone)
), mentions AS (
    DELETE FROM chat_mention WHERE message_id IN (SELECT id FROM gone)
), tallies AS (
    DELETE FROM chat_tally WHERE message_id IN (SELECT id FROM gone)
), wordings AS (
    DELETE FROM chat_revision WHERE message_id IN (SELECT id FROM gone)
), reports AS (
    DELETE FROM chat_report WHERE message_id IN (SELECT id FROM gone)
), recounts AS (
    DELETE FROM chat_recount WHERE message_id IN (SELECT id FROM gone)
), chunks AS (
    DELETE FROM chat_replychunk WHERE message_id IN (SELECT id FROM gone)
)
SELECT count(*) FROM gone
"""


def delete_inner(*, conversation_id: UUID) -> None:
    """Delete the topics and threads of a deleted conversation, each in a change of its own."""
    inner = Conversation.objects.live().filter(access_id=conversation_id)
    while found := list(inner.values_list("pk", flat=True)[:_AT_ONCE]):
        for one in found:
            try:
                with changing(one) as change:
                    change.delete()
            except NotFound:
                continue


def purge_some(*, conversation_id: UUID) -> bool:
    """Delete some of what was said in a deleted conversation and in what hung on it.

    Returns False if that was the last.
    """
    deleted = Conversation.objects.filter(pk=conversation_id).first()
    if deleted is None or deleted.deleted_at is None:
        return False
    inner = Conversation.objects.filter(
        Q(access_id=deleted.pk) | Q(parent=deleted), access_id=deleted.members_of
    ).exclude(kind=Conversation.Kind.DISCUSSION)
    end_threads_of(deleted)
    with connection.cursor() as cursor:
        cursor.execute(_PURGE, [[deleted.pk, *inner.values_list("pk", flat=True)], _AT_ONCE])
        (count,) = cursor.fetchone()
    return bool(count == _AT_ONCE)


def forget_deleted() -> int:
    """Drop the rows of conversations deleted before any client's `at`; return how many."""
    before = timezone.now() - timedelta(seconds=AT_HOLDS)
    old = Conversation.objects.filter(deleted_at__lt=before)
    with transaction.atomic():
        ReadState.objects.filter(conversation__in=old).delete()
        count, _ = old.delete()
    return count
