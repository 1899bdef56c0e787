"""The one way to change a conversation: under its lock, stamped with its next `seq`.

`created`, `changed` and `swap` each take the next `seq`, stamp the row with it, save it, and
publish it whole after the commit. Nothing else touches `seq`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from chat import unread
from chat.models import Conversation, Member, Message, MessageQuerySet
from chat.states import conversation_state, member_state, message_state
from core.columns import Columns
from core.errors import NotFound
from core.publishing import (
    Publication,
    publish_on_commit,
    removed_from,
    to_conversation,
)
from protocol.events import (
    ConversationDeleted,
    ConversationUpdated,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    MessageCreated,
    MessageUpdated,
)
from protocol.frames import Event

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
        self._fields: set[str] = set()

    def created(self, row: Message | Member) -> None:
        """Stamp and save a new row (or a member who came back), and tell of it."""
        row.seq = self._next_seq()
        if isinstance(row, Message):
            row.created_seq = row.seq
        row.save()
        self.publish(_created_event(row))

    def changed(self, row: Message | Member | Conversation, *fields: str) -> None:
        """Stamp and save these fields of a row, and tell of it as it is now.

        The sockets of a member who is no more stop following at once.
        """
        if isinstance(row, Conversation):
            row.changed_seq = self._next_seq()
            self._fields.update(fields)
        else:
            row.seq = self._next_seq()
            row.save(update_fields=[*fields, "seq"])
        event = _changed_event(row)
        if isinstance(event, MemberLeft) and isinstance(row, Member) and row.user is not None:
            self._publications.insert(0, removed_from(row.user.pk, event))
        self.publish(event)

    def swap(
        self, rows: MessageQuerySet, *, read: Message | None = None, **values: Any
    ) -> Message | None:
        """Compare and swap: stamp and update the one message of `rows`, and tell of it.

        None if there is none, because the compare-and-swap lost; nothing is changed or told then.
        `read` is the row, if the caller has read it under the lock; it need not be read again.
        """
        values["seq"] = self.conversation.seq + 1
        message = read or rows.with_authors().first()
        if message is None or not rows.update(**values):
            return None
        self._next_seq()
        for name, value in values.items():
            setattr(message, name, value)
        self.publish(_changed_event(message))
        return message

    def repeat(self, row: Message) -> None:
        """Tell of a row once more, as it stands: nothing of it has changed."""
        self.publish(_changed_event(row))

    def publish(self, event: Event) -> None:
        """Send an event to those who follow the conversation, once this is committed."""
        self._publications.append(to_conversation(event))

    def publish_also(self, publication: Publication) -> None:
        """Send this after the events so far, once this is committed."""
        self._publications.append(publication)

    def touch(self, *, spoken: bool = False) -> None:
        """Refresh the members' lists and unread counts; `spoken` moves it to their top."""
        self._touched = True
        self._active = self._active or spoken

    def delete(self) -> None:
        """Delete the conversation with everything in it, and tell everyone who was in it."""
        event = ConversationDeleted(conversation=self.conversation.pk, seq=self._next_seq())
        people = Member.objects.present().people().filter(conversation=self.conversation)
        # On everyone's own group: that reaches their sockets whether they follow it or not.
        for person in people.values_list("user_id", flat=True):
            self.publish_also(removed_from(person, event))
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

    def _next_seq(self) -> int:
        self.conversation.seq += 1
        return self.conversation.seq

    def _finish(self) -> None:
        if self._deleted:
            return
        if self.conversation.seq != self._first_seq:
            self._fields |= {"seq", "changed_seq"}
        if self._active:
            self.conversation.active_at = timezone.now()
            self._fields.add("active_at")
        if self._fields:
            self.conversation.save(update_fields=self._fields)
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


def _created_event(row: Message | Member) -> Event:
    if isinstance(row, Message):
        return MessageCreated(
            conversation=row.conversation_id, seq=row.seq, message=message_state(row)
        )
    return MemberJoined(conversation=row.conversation_id, seq=row.seq, member=member_state(row))


def _changed_event(row: Message | Member | Conversation) -> Event:
    if isinstance(row, Message):
        return MessageUpdated(
            conversation=row.conversation_id, seq=row.seq, message=message_state(row)
        )
    if isinstance(row, Member):
        kind = MemberUpdated if row.left_at is None else MemberLeft
        return kind(conversation=row.conversation_id, seq=row.seq, member=member_state(row))
    return ConversationUpdated(
        conversation=row.pk, seq=row.changed_seq, state=conversation_state(row)
    )


def conversation_of(message_id: UUID) -> UUID:
    """Return the conversation to lock before a message is read. Raises NotFound."""
    found = Message.objects.filter(pk=message_id).values_list("conversation_id", flat=True).first()
    if found is None:
        raise NotFound
    return found
