"""Threads, as far as a change touches them: their place in the room, and what hangs on a room."""

from django.db import connection, transaction

from chat.models import Conversation
from chat.signals import recount_wanted

# What is counted while the thread's change is not committed yet lacks it. That is why a row that
# is there already is locked, too: it is not taken before the commit.
_WANT = """
INSERT INTO chat_recount (message_id, conversation_id) VALUES (%s, %s)
ON CONFLICT (message_id) DO UPDATE SET conversation_id = excluded.conversation_id
"""
# Others lock what is inside of a room before it. So who holds the room waits for nothing inside;
# what was locked is found by the job that deletes what was said.
_END = """
WITH inner_ones AS (
    SELECT id FROM chat_conversation
    WHERE access_id = %(members_of)s AND %(id)s IN (access_id, parent_id) AND id <> %(id)s
        AND kind = 'thread' AND deleted_at IS NULL
    FOR UPDATE SKIP LOCKED
)
UPDATE chat_conversation c
SET deleted_at = now(), title = '', topic_text = '', root_id = NULL,
    seq = seq + 1, touched = pg_current_xact_id()
FROM inner_ones WHERE c.id = inner_ones.id
"""


def want_recount(thread: Conversation) -> None:
    """Have the replies in a thread counted under its root, once this is committed."""
    with connection.cursor() as cursor:
        cursor.execute(_WANT, [thread.root_id, thread.parent_id])
    transaction.on_commit(
        lambda: recount_wanted.send(sender=Conversation, conversation_id=thread.parent_id),
        robust=True,
    )


def end_threads_of(conversation: Conversation) -> None:
    """Delete the threads of a conversation that is deleted: nobody may read them any more.

    A forum's topics are deleted one by one, by a job: their changes lock the topic first.
    """
    with connection.cursor() as cursor:
        cursor.execute(_END, {"id": conversation.pk, "members_of": conversation.members_of})
