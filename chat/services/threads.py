"""Replying in threads. A thread is a conversation that hangs on a message of a room."""

from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from chat.change import Change, changing, conversation_of
from chat.feed import end_following
from chat.models import Conversation, Message
from chat.permissions import require
from chat.services.conversations import require_open
from chat.services.messages import SentMessage, say
from chat.services.reply_actions import readable_message
from core.errors import Conflict, Invalid
from core.publishing import publish_on_commit

QUIET: Final = timedelta(days=30)  # after which nobody follows a thread that they have read
_AT_ONCE: Final = 500

# What is still to be unfollowed is looked for anew under the locks: of the conversation, so that
# nothing is said meanwhile, then of the feeds.
_QUIET = """
SELECT r.user_id, r.conversation_id FROM chat_readstate r
JOIN chat_conversation c ON c.id = r.conversation_id
WHERE r.follows AND NOT r.gone AND c.active_at < %(before)s AND c.number - (
    SELECT count(*) FROM chat_message d
    WHERE d.conversation_id = c.id AND d.number > r.read AND d.deleted_at IS NOT NULL
) <= r.read
ORDER BY c.id, r.user_id LIMIT %(most)s FOR SHARE OF c SKIP LOCKED
"""


class SentInThread(NamedTuple):
    """What was said in a thread, and the same in the room, if it was to be there too."""

    thread: Conversation
    sent: SentMessage
    in_room: Message | None


def reply_in_thread(
    *, user: User, message_id: UUID, also_in_room: bool = False, **said: Any
) -> SentInThread:
    """Say something in the thread of a message; the first reply makes the thread.

    `said` is what `send_message` takes. With `also_in_room` it is said in the room too, where it
    quotes the message. The same `client_id` again is the same message in both.
    Raises NotFound, NotAllowed, ReadOnly; Conflict where there are no threads, or for a message
    that was deleted; Invalid for one that no thread can hang on; and what `send_message` raises.
    """
    room_id = conversation_of(message_id)
    thread_id = _thread_id(message_id)
    if thread_id is None:
        # Of two first replies, which wait for each other here, the second finds the thread.
        with changing(room_id) as change:
            thread_id = _thread_id(message_id)
            if thread_id is None:
                made = _new_thread(change, user, message_id)
                with changing(made.pk) as inner:
                    done = _reply(inner, user, said)
                    # Whoever wrote what is replied to has read nothing of the replies.
                    author = Message.objects.values_list("author_user", flat=True).get(
                        pk=message_id
                    )
                    if author is not None and author != user.pk:
                        inner.follow({author: 0})
                if also_in_room:
                    done = done._replace(in_room=_quote(change, user, message_id, said))
                return done
    # What is inside of a room is locked before it, here as elsewhere.
    with changing(thread_id) as inner:
        done = _reply(inner, user, said)
        if also_in_room:
            with changing(room_id) as change:
                done = done._replace(in_room=_quote(change, user, message_id, said))
    return done


def _reply(inner: Change, user: User, said: dict[str, Any]) -> SentInThread:
    return SentInThread(inner.conversation, say(change=inner, user=user, **said), None)


def _quote(change: Change, user: User, message_id: UUID, said: dict[str, Any]) -> Message:
    """Say in the room what was said in the thread. Whom it asks answers there."""
    if change.room.threads == Conversation.Threads.ONLY:
        raise Conflict("In this room one replies in threads.")
    quoting = {**said, "assistant": None, "model": None, "parent": message_id}
    return say(change=change, user=user, again=True, **quoting).message


def _thread_id(message_id: UUID) -> UUID | None:
    threads = Conversation.objects.live().filter(root=message_id)
    return threads.values_list("pk", flat=True).first()


def _new_thread(change: Change, user: User, message_id: UUID) -> Conversation:
    member, conversation = change.member(user), change.conversation
    message = readable_message(change, member, message_id)
    if conversation.kind in (Conversation.Kind.ASSISTANT, Conversation.Kind.THREAD):
        raise Invalid("No thread can hang on this message.", field="message")
    if change.room.threads == Conversation.Threads.OFF:
        raise Conflict("There are no threads in this room.")
    require_open(change)
    require("thread", member, change.room)
    if message.deleted_at is not None:
        raise Conflict("This message was deleted.")
    return Conversation.objects.create(
        kind=Conversation.Kind.THREAD,
        parent=conversation,
        access_id=conversation.members_of,
        root=message,
        # Where newcomers read only what comes after them. A topic is read whole.
        root_seq=None if conversation.access_id is not None else message.created_seq,
        creator=user,
    )


def unfollow_quiet() -> int:
    """Let nobody follow threads any more in which nothing was said for long and all is read.

    Some of them: returns how many were unfollowed.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_QUIET, {"before": timezone.now() - QUIET, "most": _AT_ONCE})
        quiet: list[tuple[UUID, UUID]] = cursor.fetchall()
        publish_on_commit(end_following(quiet))
    return len(quiet)
