"""Rooms: what they are, how one comes in, and their counters."""

from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q

from chat.models.rows import UNCHECKED, IdentifiedRow
from chat.models.transactions import CurrentTransaction, Xid8Field


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Conversations by whether they are still there."""

    def live(self) -> "ConversationQuerySet":
        """Those that were not deleted."""
        return self.filter(deleted_at=None)


class Conversation(IdentifiedRow):
    """A room. `seq` counts its durable changes; `changed_seq` is the last to the row itself.

    `number` counts what can be read in it: a person's message when it is made, a reply when it
    ends. One that was deleted keeps an empty row, for those who were away to learn of it.
    """

    class Kind(models.TextChoices):
        """What kind of room it is."""

        ASSISTANT = "assistant"
        DIRECT = "direct"
        GROUP = "group"
        FORUM = "forum"
        DISCUSSION = "discussion"
        THREAD = "thread"

    class Access(models.TextChoices):
        """How people come in: as they like, by asking, or only when somebody lets them in."""

        OPEN = "open"
        LISTED = "listed"
        PRIVATE = "private"

    class History(models.TextChoices):
        """What those who join may read: everything, or what comes after."""

        ALL = "all"
        JOINED = "joined"

    class Threads(models.TextChoices):
        """Whether people reply in threads: as they like, never, or in nothing else."""

        ON = "on"
        OFF = "off"
        ONLY = "only"

    # Those without members of their own: the topic of a forum, what hangs on a message.
    INNER: ClassVar = (Kind.DISCUSSION, Kind.THREAD)
    # Those that nobody is let into, whatever happens.
    CLOSED: ClassVar = (Kind.ASSISTANT, Kind.DIRECT, *INNER)

    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.ASSISTANT)
    title = models.CharField(max_length=200, blank=True)
    topic_text = models.CharField(max_length=500, blank=True, default="", db_default="")
    avatar = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="An emoji."
    )
    access = models.CharField(
        max_length=7, choices=Access.choices, default=Access.PRIVATE, db_default=Access.PRIVATE
    )
    history = models.CharField(
        max_length=6, choices=History.choices, default=History.ALL, db_default=History.ALL
    )
    threads = models.CharField(
        max_length=4, choices=Threads.choices, default=Threads.ON, db_default=Threads.ON
    )
    # Of a direct one: a hash of its people, so that they have one.
    direct_key = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001
    # What it belongs to: a topic's forum, a thread's room. Unchecked, as all of these: a check
    # would lock the other row, which whoever opens a topic locks in earnest afterwards.
    parent = models.ForeignKey(
        "self", null=True, blank=True, editable=False, related_name="+", **UNCHECKED
    )
    # The message that a thread hangs on.
    root = models.ForeignKey(
        "chat.Message", null=True, blank=True, editable=False, related_name="+", **UNCHECKED
    )
    # Its place in the room: who may not read that, may not read the thread.
    root_seq = models.BigIntegerField(null=True, blank=True, editable=False)
    # Whose members decide who may do what here; null: its own. See `members_of`.
    access_id = models.UUIDField(null=True, blank=True, editable=False)
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Of a forum: the assistant that answers each new topic.
    responder = models.ForeignKey(
        "chat.Assistant", null=True, blank=True, editable=False, related_name="+", **UNCHECKED
    )
    # Chosen when it was opened; empty: the assistant's.
    model = models.CharField(max_length=120, blank=True)
    language = models.CharField(max_length=35, blank=True)
    seq = models.BigIntegerField(default=0)
    changed_seq = models.BigIntegerField(default=0)
    number = models.BigIntegerField(default=0, db_default=0)
    # Persons present.
    people = models.PositiveIntegerField(default=0, db_default=0)
    # The least role for what `chat.permissions` lets a conversation decide, by action; and under
    # `replies` how many a day may be asked for.
    policy = models.JSONField(default=dict, db_default={}, blank=True)
    # Between two messages of one person, seconds; 0: none.
    slow_seconds = models.PositiveIntegerField(default=0, db_default=0)
    # How many replies were asked for on a day, where that is bounded.
    reply_day = models.DateField(null=True, blank=True, editable=False)
    reply_count = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # The transaction of its last change. Not indexed: nothing that changes with every message
    # is, so that such an update writes no index.
    touched = Xid8Field(db_default=CurrentTransaction())
    created_at = models.DateTimeField(auto_now_add=True)
    # When something was last said; lists are ordered by it.
    active_at = models.DateTimeField(auto_now_add=True)
    # Set: it can be read, but nothing more is said in it.
    archived_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["direct_key"],
                name="conversation_direct_once",
                condition=Q(direct_key__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["root"],
                name="conversation_thread_once",
                condition=Q(root__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["access_id"],
                name="conversation_inner",
                condition=Q(access_id__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.title or f"{self.kind} {self.id}"

    @property
    def members_of(self) -> UUID:
        """The conversation whose members decide who may do what here: itself, or its forum."""
        return self.access_id or self.pk
