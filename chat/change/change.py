"""The one way to change a conversation: under its lock, stamped with its next `seq`.

`created`, `changed` and `swap` each take the next `seq`, stamp the row with it, save it, and
publish it whole after the commit. A message that can be read from now on gets the conversation's
next `number`. Nothing else touches either.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from chat.change.events import changed_event, created_event, member_left
from chat.change.lists import Lists
from chat.change.threads import end_threads_of, want_recount
from chat.models import Conversation, Member, Message, MessageQuerySet, Tally, Topic, TopicQuerySet
from chat.states import topic_state
from core.columns import Columns
from core.errors import NotFound
from core.jobs import enqueue_named
from core.publishing import Publication, deleted, publish_on_commit, removed_from, to_conversation
from protocol.events import ConversationDeleted, Resync, TallyUpdated, TopicCreated, TopicUpdated
from protocol.frames import Event
from protocol.limits import VOTE
from protocol.states import ReactedState, TallyState

PURGE_TASK = "chat.purge_conversation"
# Messages that one statement has changed: more are not told one by one.
MOST_TOLD = 50

_CONVERSATION = Columns(Conversation, "c")
_ROOM = Columns(Conversation, "r")
_LOCK = f"""
SELECT {_CONVERSATION}, {_ROOM} FROM chat_conversation c
LEFT JOIN chat_conversation r ON r.id = c.access_id
WHERE c.id = %s FOR UPDATE OF c
"""  # noqa: S608 - nothing but the names of columns
# Of the conversation's row, what every change may move; with it, the read marks of those who wrote,
# whose rooms are touched anyway: they take no seq of their feeds.
_COUNTED = ("id", "seq", "changed_seq", "number", "people", "active_at")
_COUNT = """
WITH marks AS (
    UPDATE chat_readstate r SET read = wrote.number
    FROM unnest(%(writers)s::uuid[], %(numbers)s::bigint[]) AS wrote(person, number)
    WHERE r.user_id = wrote.person AND r.conversation_id = %(id)s AND r.read < wrote.number
)
UPDATE chat_conversation SET seq = %(seq)s, changed_seq = %(changed_seq)s, number = %(number)s,
    people = %(people)s, active_at = %(active_at)s, touched = pg_current_xact_id()
WHERE id = %(id)s
"""


class Change:
    """What is being done to a locked conversation: the seqs it takes, the events it makes.

    `room` is where its members are, and its policy: itself, or, not locked, a topic's forum.
    """

    def __init__(self, conversation: Conversation, room: Conversation | None = None) -> None:
        self.conversation = conversation
        self.room = room or conversation
        self._first_seq, self._first_number = conversation.seq, conversation.number
        self._publications: list[Publication] = []
        self._lists = Lists(conversation)
        self._active = False
        self._counts = False
        self._fields: set[str] = set()

    def created(self, row: Message | Member) -> None:
        """Stamp and save a new row (or a member who came back), and tell of it."""
        row.seq = self._next_seq()
        if isinstance(row, Message):
            row.created_seq = row.seq
            if row.status not in Message.ACTIVE:
                row.number = self._next_number()
                if row.author_user_id is not None:
                    self._lists.wrote[row.author_user_id] = row.number
        else:
            row.joined_seq = row.seq
            if row.user_id is not None:
                self.conversation.people += 1
                self._lists.joined.append(row.user_id)
        row.save()
        self.publish(created_event(row, self.conversation.people))

    def changed(self, row: Message | Member | Conversation, *fields: str) -> None:
        """Stamp and save these fields of a row, and tell of it as it is now.

        The sockets of a member who is no more stop following at once.
        """
        if isinstance(row, Conversation):
            row.changed_seq = self._next_seq()
            self._fields.update(fields)
            self._lists.narrowed |= "history" in fields and row.history == row.History.JOINED
        elif isinstance(row, Message):
            row.seq = self._next_seq()
            row.number = self._number_of(row, row.status)
            row.save(update_fields=[*fields, "seq", "number"])
        else:
            row.seq = self._next_seq()
            row.save(update_fields=[*fields, "seq"])
        if isinstance(row, Member) and row.left_at is not None and row.user_id is not None:
            self.conversation.people -= 1
            self._lists.left.append(row.user_id)
            left = member_left(row, self.conversation.people)
            self._publications.insert(0, removed_from(row.user_id, left))
        self.publish(changed_event(row, self.conversation.people))

    def swap(
        self, rows: MessageQuerySet, *, read: Message | None = None, **values: Any
    ) -> Message | None:
        """Compare and swap: stamp and update the one message of `rows`, and tell of it.

        None if there is none, because the compare-and-swap lost; nothing is changed or told then.
        `read` is the row, if the caller has read it under the lock; it need not be read again.
        """
        values["seq"] = self.conversation.seq + 1
        message = read or rows.with_authors().first()
        if message is None:
            return None
        number = message.number
        if number is None and values.get("status", message.status) not in Message.ACTIVE:
            number = values["number"] = self.conversation.number + 1
        if not rows.update(**values):
            return None
        self._next_seq()
        if number is not None:
            self.conversation.number = max(number, self.conversation.number)
        for name, value in values.items():
            setattr(message, name, value)
        self.publish(changed_event(message, self.conversation.people))
        return message

    def stamped(self, rows: Sequence[Message]) -> None:
        """Take the seqs that one statement has stamped these messages with, and tell of them.

        They are given in the order of `seq`, from the conversation's next. Where they are many,
        clients are told to ask for what is new.
        """
        for row in rows:
            assert row.seq == self._next_seq()
        if len(rows) <= MOST_TOLD:
            for row in rows:
                self.repeat(row)
        else:
            self.publish(Resync(conversation=self.conversation.pk))
        for row in rows:
            if row.deleted_at is not None:
                self.touch(removed=row)

    def tallied(self, counted: Collection[TallyState], by: list[ReactedState] | None) -> None:
        """Store what was counted under these messages with one seq, and tell of it.

        `by` is whose reactions changed, None if those are too many to say.
        """
        seq = self._next_seq()
        tallies = [tally.model_copy(update={"seq": seq}) for tally in counted]
        Tally.objects.bulk_create(
            [
                Tally(
                    message_id=tally.message,
                    conversation=self.conversation,
                    reactions=[kind.model_dump(mode="json") for kind in tally.reactions],
                    thread_id=tally.thread,
                    replies=tally.replies,
                    replied_at=tally.replied_at,
                    repliers=[
                        author.model_dump(mode="json", include={"type", "id"})
                        for author in tally.repliers
                    ],
                    votes=sum(kind.count for kind in tally.reactions if kind.emoji == VOTE),
                    seq=seq,
                    counted_at=Now(),
                )
                for tally in tallies
            ],
            update_conflicts=True,
            unique_fields=["message"],
            update_fields=[
                "reactions",
                "votes",
                "thread",
                "replies",
                "replied_at",
                "repliers",
                "seq",
                "counted_at",
            ],
        )
        self.publish(
            TallyUpdated(conversation=self.conversation.pk, seq=seq, tallies=tallies, by=by)
        )

    def follow(self, people: Mapping[UUID, int]) -> None:
        """Let these people follow a thread, of which they have read up to this number."""
        self._lists.follow(people)

    def moved(self, count: int, *, told: bool) -> None:
        """Tell of messages that were stamped, in their order, with the next so many seqs.

        Unless they are `told` one by one, whoever follows the conversation asks for them.
        """
        first = self.conversation.seq
        self.conversation.seq += count
        if not told:
            self.publish(Resync(conversation=self.conversation.pk))
            return
        stamped = Message.objects.with_authors().filter(
            conversation=self.conversation, seq__gt=first
        )
        for message in stamped.order_by("seq"):
            self.publish(changed_event(message, self.conversation.people))

    def created_topic(self, topic: Topic) -> None:
        """Stamp and save a new topic of this forum, and tell of it."""
        topic.seq, topic.number = self._next_seq(), self._next_number()
        if topic.author_id is not None:
            self._lists.wrote[topic.author_id] = topic.number
        topic.save()
        self.publish(
            TopicCreated(conversation=self.conversation.pk, seq=topic.seq, topic=topic_state(topic))
        )

    def swap_topic(self, topics: TopicQuerySet, **values: Any) -> Topic | None:
        """Compare and swap: stamp and update the one of these topics, and tell of it.

        None if there is none, because the compare-and-swap lost; nothing is changed or told then.
        """
        topic = topics.with_authors().first()
        if topic is None or not topics.update(**values, seq=self.conversation.seq + 1):
            return None
        topic.seq = self._next_seq()
        for name, value in values.items():
            setattr(topic, name, value)
        self.publish(
            TopicUpdated(conversation=self.conversation.pk, seq=topic.seq, topic=topic_state(topic))
        )
        return topic

    def repeat(self, row: Message) -> None:
        """Tell of a row once more, as it stands: nothing of it has changed."""
        self.publish(changed_event(row, self.conversation.people))

    def publish(self, event: Event) -> None:
        """Send an event to those who follow the conversation, once this is committed."""
        self._publications.append(to_conversation(event))

    def touch(
        self,
        *,
        said: Message | Topic | None = None,
        removed: Message | Topic | None = None,
    ) -> None:
        """Refresh the members' lists; something that was `said` moves it to their top.

        `removed` is a message that was deleted.
        """
        if said is not None:
            self._active = True
        if removed is not None:
            self._counts = True
        self._lists.touch(said=said, removed=removed)

    def named(self, message: Message, people: Iterable[UUID], *, everyone: bool) -> None:
        """Tell lists whom a message names as it is now; nobody, if it was reworded so."""
        self._lists.named(message, people, everyone=everyone)

    def delete(self) -> None:
        """Delete the conversation with everything in it, and tell everyone who was in it.

        What hangs on it is deleted with it. Its empty row stays, so that those who are away learn
        of it; what was said in it is deleted by a job, in thousands.
        """
        event = ConversationDeleted(conversation=self.conversation.pk, seq=self._next_seq())
        self._publications.append(deleted(event))
        if self.conversation.access_id is not None:
            # It is in the lists of those only who follow it; others read it too.
            self.publish(event)
        Member.objects.filter(conversation=self.conversation)._raw_delete(Member.objects.db)  # noqa: SLF001
        self.conversation.title = self.conversation.topic_text = ""
        self.conversation.direct_key = None
        self.conversation.people = 0
        self.conversation.deleted_at = timezone.now()
        self._fields |= {"title", "topic_text", "direct_key", "people", "deleted_at"}
        end_threads_of(self.conversation)
        self._counts = True
        self._lists.touched = False
        enqueue_named(PURGE_TASK, conversation_id=str(self.conversation.pk))

    @property
    def is_archived(self) -> bool:
        """Say whether nothing more may be said, here or in all of its room."""
        return self.conversation.archived_at is not None or self.room.archived_at is not None

    def member(self, user: User) -> Member:
        """Return the user's present membership. Raises NotFound, whose reason is not told."""
        member = self._present(conversation=self.room, user=user)
        root_seq = self.conversation.root_seq
        if root_seq is not None and root_seq <= member.readable_after(self.room):
            raise NotFound
        return member

    def member_with_id(self, member_id: UUID) -> Member:
        """Return a present member of the conversation. Raises NotFound."""
        return self._present(conversation=self.conversation, pk=member_id)

    def _present(self, **which: Any) -> Member:
        present = Member.objects.select_related("user", "assistant").present()
        member = present.filter(**which).first()
        if member is None:
            raise NotFound
        return member

    def _next_seq(self) -> int:
        self.conversation.seq += 1
        return self.conversation.seq

    def _next_number(self) -> int:
        self.conversation.number += 1
        return self.conversation.number

    def _number_of(self, message: Message, status: str) -> int | None:
        """The number it has, else the next one if it can be read from now on."""
        if message.number is not None or status in Message.ACTIVE:
            return message.number
        return self._next_number()

    def _finish(self) -> None:
        conversation = self.conversation
        if conversation.seq == self._first_seq and not self._active:
            return
        if conversation.root_id is not None:
            if self._counts or conversation.number != self._first_number:
                want_recount(conversation)
            if conversation.deleted_at is not None:
                # The message may have another.
                conversation.root_id = None
                self._fields.add("root_id")
        if self._active:
            conversation.active_at = timezone.now()
        if self._fields:
            values = {name: getattr(conversation, name) for name in self._fields}
            Conversation.objects.filter(pk=conversation.pk).update(**values)
        counted: dict[str, Any] = {name: getattr(conversation, name) for name in _COUNTED}
        wrote = self._lists.wrote
        counted |= {"writers": list(wrote), "numbers": list(wrote.values())}
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, counted)
        self._publications += self._lists.finish()


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
        own, room = row[: len(_CONVERSATION)], row[len(_CONVERSATION) :]
        change = Change(_CONVERSATION.read(own), None if room[0] is None else _ROOM.read(room))
        if change.conversation.deleted_at is not None:
            raise NotFound
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
