"""The one way to change a conversation: under its lock, stamped with its next `seq`."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from chat import unread
from chat.models import Conversation, Member, Message
from core.columns import Columns
from core.errors import NotFound
from core.publishing import Publication, publish_on_commit, to_conversation
from protocol.events import Event

_CONVERSATION = Columns(Conversation, "c")
_LOCK = f"SELECT {_CONVERSATION} FROM chat_conversation c WHERE c.id = %s FOR UPDATE"  # noqa: S608


class Change:
    """What is being done to a locked conversation: the seqs it takes, the events it makes."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._first_seq = conversation.seq
        self._publications: list[Publication] = []
        self._touched = False
        self._active = False
        self._deleted = False

    def next_seq(self) -> int:
        """Take the next number of the conversation, for one changed row."""
        self.conversation.seq += 1
        return self.conversation.seq

    def publish(self, event: Event) -> None:
        """Send an event to those who follow the conversation, once this is committed."""
        self._publications.append(to_conversation(event))

    def publish_first(self, publication: Publication) -> None:
        """Send this before the events, once this is committed."""
        self._publications.insert(0, publication)

    def publish_also(self, publication: Publication) -> None:
        """Send this after the events so far, once this is committed."""
        self._publications.append(publication)

    def touch(self, *, spoken: bool = False) -> None:
        """Refresh the members' lists and unread counts; `spoken` moves it to their top."""
        self._touched = True
        self._active = self._active or spoken

    def delete(self) -> None:
        """Delete the conversation with everything in it; what was to be published still is."""
        self.conversation.delete()
        self._deleted = True

    def member(self, user: User) -> Member:
        """Return the user's present membership. Raises NotFound, whose reason is not told."""
        member = (
            Member.objects.select_related("user", "assistant")
            .present()
            .filter(conversation=self.conversation, user=user)
            .first()
        )
        if member is None:
            raise NotFound
        return member

    def member_with_id(self, member_id: UUID) -> Member:
        """Return a present member of the conversation. Raises NotFound."""
        member = (
            Member.objects.select_related("user", "assistant")
            .present()
            .filter(pk=member_id, conversation=self.conversation)
            .first()
        )
        if member is None:
            raise NotFound
        return member

    def _finish(self) -> None:
        fields = []
        if self._deleted:
            return
        if self.conversation.seq != self._first_seq:
            fields = ["seq", "changed_seq"]
        if self._active:
            self.conversation.active_at = timezone.now()
            fields.append("active_at")
        if fields:
            self.conversation.save(update_fields=fields)
        if self._touched:
            conversation_id = self.conversation.pk
            transaction.on_commit(lambda: unread.touch(conversation_id), robust=True)


@contextmanager
def changing(conversation_id: UUID) -> Iterator[Change]:
    """Lock a conversation for one short transaction and yield the change being made to it.

    An exception from the block rolls all of it back, and nothing is published.
    Raises NotFound if there is no such conversation.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [conversation_id])
            row = cursor.fetchone()
        if row is None:
            raise NotFound
        change = Change(_CONVERSATION.read(row))
        # Before whatever the block enqueues: a worker that is woken first could claim a reply
        # and tell of that before its creation was told.
        publish_on_commit(change._publications)  # noqa: SLF001
        yield change
        change._finish()  # noqa: SLF001


def conversation_of(message_id: UUID) -> UUID:
    """Return the conversation to lock before a message is read. Raises NotFound."""
    found = Message.objects.filter(pk=message_id).values_list("conversation_id", flat=True).first()
    if found is None:
        raise NotFound
    return found
