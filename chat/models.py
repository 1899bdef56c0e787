"""Tables, constraints and derived values of conversations.

One counter orders a conversation: every durable change locks the conversation's row, takes
`seq + 1` and stamps the changed row with it, so `seq` is gapless and in commit order.
"""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from uuid_utils.compat import uuid7


class AssistantQuerySet(models.QuerySet["Assistant"]):
    """Assistants by whether they may be talked to."""

    def active(self) -> "AssistantQuerySet":
        """Those that are switched on."""
        return self.filter(is_active=True)


class Assistant(models.Model):
    """A persona over a model. Its key is named by an environment variable, never stored."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=200, blank=True)
    avatar = models.CharField(max_length=200, blank=True, help_text="An emoji or an image URL.")
    model = models.CharField(
        max_length=120, blank=True, help_text="The model's name; empty: CHATIRE_MODEL."
    )
    base_url = models.URLField(blank=True, help_text="Empty: OPENAI_BASE_URL.")
    api_key_variable = models.CharField(
        max_length=80,
        blank=True,
        help_text="Name of the environment variable with the key; empty: OPENAI_API_KEY.",
    )
    open_turns = models.BooleanField(
        default=False,
        help_text="For a base URL of its own: whether its server goes on with an assistant's turn "
        "that is left open, as llama.cpp, vLLM and SGLang do. Else OPENAI_OPEN_TURNS.",
    )
    system_prompt = models.TextField(blank=True)
    temperature = models.FloatField(null=True, blank=True)
    max_tokens = models.PositiveIntegerField(null=True, blank=True)
    context_tokens = models.PositiveIntegerField(null=True, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    language = models.CharField(max_length=35, blank=True, help_text="A BCP 47 tag, such as 'de'.")
    allowed_models = models.JSONField(
        default=list, blank=True, help_text="Models a conversation may choose besides its own."
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AssistantQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Conversations by whether they are still there."""

    def live(self) -> "ConversationQuerySet":
        """Those that were not deleted."""
        return self.filter(deleted_at=None)


class Xid8Field(models.Field):  # type: ignore[type-arg] # not generic at run time
    """The number of a transaction, which says in which snapshots a row is visible."""

    def db_type(self, connection: Any) -> str:
        """PostgreSQL's own type; psycopg reads it as text."""
        return "xid8"


class CurrentTransaction(models.Func):
    """The number of the transaction that a statement runs in, a savepoint's being its whole's."""

    function = "pg_current_xact_id"
    output_field = Xid8Field()


class Conversation(models.Model):
    """A room. `seq` counts its durable changes; `changed_seq` is the last to the row itself.

    `number` counts what can be read in it: a person's message when it is made, a reply when it
    ends. One that was deleted keeps an empty row, for those who were away to learn of it.
    """

    class Kind(models.TextChoices):
        """What kind of room it is."""

        ASSISTANT = "assistant"
        DIRECT = "direct"
        GROUP = "group"
        DISCUSSION = "discussion"

    class Access(models.TextChoices):
        """How people come in: as they like, by asking, or only when somebody lets them in."""

        OPEN = "open"
        LISTED = "listed"
        PRIVATE = "private"

    class History(models.TextChoices):
        """What those who join may read: everything, or what comes after."""

        ALL = "all"
        JOINED = "joined"

    # Those that only their people come into, whatever happens.
    CLOSED: ClassVar = (Kind.ASSISTANT, Kind.DIRECT)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
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
    # Of a direct one: a hash of its people, so that they have one.
    direct_key = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Chosen when it was opened; empty: the assistant's.
    model = models.CharField(max_length=120, blank=True)
    language = models.CharField(max_length=35, blank=True)
    seq = models.BigIntegerField(default=0)
    changed_seq = models.BigIntegerField(default=0)
    number = models.BigIntegerField(default=0, db_default=0)
    # Persons present.
    people = models.PositiveIntegerField(default=0, db_default=0)
    # The least role for what `chat.permissions` lets a conversation decide, by action.
    policy = models.JSONField(default=dict, db_default={}, blank=True)
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
            )
        ]

    def __str__(self) -> str:
        return self.title or f"{self.kind} {self.id}"


class MemberQuerySet(models.QuerySet["Member"]):
    """Memberships by whether they last, and by who has them."""

    def present(self) -> "MemberQuerySet":
        """Those that have not ended."""
        return self.filter(left_at=None)

    def people(self) -> "MemberQuerySet":
        """Those of people, not of assistants."""
        return self.filter(user__isnull=False)


class Member(models.Model):
    """A person's or an assistant's place in a conversation, as all see it; `left_at` ends it."""

    class Role(models.TextChoices):
        """What a member may do to the conversation."""

        OWNER = "owner"
        ADMIN = "admin"
        MODERATOR = "moderator"
        MEMBER = "member"
        GUEST = "guest"

    # Who is told by name in a large room.
    MANAGERS: ClassVar = (Role.OWNER, Role.ADMIN, Role.MODERATOR)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="memberships",
    )
    assistant = models.ForeignKey(
        Assistant, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=9, choices=Role.choices, default=Role.MEMBER)
    nickname = models.CharField(max_length=80, blank=True)
    # The link they came by.
    invitation = models.ForeignKey(
        "Invitation", null=True, blank=True, on_delete=models.SET_NULL, related_name="members"
    )
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    joined_at = models.DateTimeField(auto_now_add=True)
    joined_seq = models.BigIntegerField(default=0, db_default=0)
    left_at = models.DateTimeField(null=True, blank=True)
    seq = models.BigIntegerField(default=0)

    objects = MemberQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="member_is_user_or_assistant",
                condition=Q(user__isnull=False) ^ Q(assistant__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "user"],
                name="member_user_once",
                condition=Q(user__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "assistant"],
                name="member_assistant_once",
                condition=Q(assistant__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "seq"], name="member_seq"),
            models.Index(
                fields=["user", "conversation"], name="member_present", condition=Q(left_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.assistant} in {self.conversation_id}"

    def readable_after(self, conversation: Conversation) -> int:
        """The `created_seq` up to which messages are not for this member to read."""
        return self.joined_seq if conversation.history == Conversation.History.JOINED else 0


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Invitations by whether they can be taken."""

    def unrevoked(self) -> "InvitationQuerySet":
        """Those that were not ended."""
        return self.filter(revoked_at=None)

    def live(self) -> "InvitationQuerySet":
        """Those that were not ended, have not expired and are not used up."""
        return self.unrevoked().filter(
            Q(expires_at=None) | Q(expires_at__gt=timezone.now()),
            Q(max_uses=None) | Q(uses__lt=F("max_uses")),
        )


class Invitation(models.Model):
    """A link into a room. Nothing secret is stored: `chat.tokens` makes its text of `version`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="invitations"
    )
    version = models.PositiveIntegerField(default=1)
    role = models.CharField(max_length=9, default=Member.Role.MEMBER, choices=Member.Role.choices)
    # May people without an account come by it?
    guests = models.BooleanField(default=False)
    email = models.EmailField(blank=True, help_text="Whom alone it is for; empty: anyone.")
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)
    # Do those who take it have to be let in?
    approval = models.BooleanField(default=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    label = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.label or f"invitation {self.id}"


class JoinRequest(models.Model):
    """Somebody asks to be let into a room; `decided_at` ends it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="join_requests"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    invitation = models.ForeignKey(
        Invitation, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    text = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    accepted = models.BooleanField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "user"],
                name="join_request_once",
                condition=Q(decided_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} to {self.conversation_id}"


class SanctionQuerySet(models.QuerySet["Sanction"]):
    """Sanctions by whether they hold."""

    def live(self) -> "SanctionQuerySet":
        """Those that were not lifted and have not run out."""
        return self.filter(Q(until=None) | Q(until__gt=timezone.now()), lifted_at=None)


class Sanction(models.Model):
    """What a room forbids a person: a ban is not to come in, by any way."""

    class Kind(models.TextChoices):
        """What is forbidden."""

        BAN = "ban"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, db_index=False, related_name="sanctions"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=7, choices=Kind.choices, default=Kind.BAN)
    reason = models.CharField(max_length=500, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)

    objects = SanctionQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["conversation", "user"],
                name="sanction_live",
                condition=Q(lifted_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.user}"


class Feed(models.Model):
    """A person's own counter: it orders what they alone see, as `seq` does a conversation."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="feed",
    )
    seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"feed of {self.user_id} at {self.seq}"


class ReadState(models.Model):
    """What one alone sees of a conversation. `seq` is the feed's.

    `read` is the number of the last message read. The row outlives the membership as `gone`.
    Changing `read` must write no index, so none has `seq` or `read`.
    """

    class Level(models.TextChoices):
        """What a member is notified of."""

        ALL = "all"
        MENTIONS = "mentions"
        NONE = "none"

    pk = models.CompositePrimaryKey("user_id", "conversation_id")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="read_states",
    )
    read = models.BigIntegerField(default=0)
    level = models.CharField(max_length=8, choices=Level.choices, default=Level.ALL)
    muted_until = models.DateTimeField(null=True, blank=True)
    pinned = models.PositiveIntegerField(null=True, blank=True)
    gone = models.BooleanField(default=False)
    seq = models.BigIntegerField(default=0)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["conversation", "user"], name="readstate_conversation")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.conversation_id} read {self.read}"


class MessageQuerySet(models.QuerySet["Message"]):
    """Messages by what is to be seen of them, and by where a reply stands."""

    def live(self) -> "MessageQuerySet":
        """Those that were not deleted."""
        return self.filter(deleted_at=None)

    def said(self) -> "MessageQuerySet":
        """Those that say something to be read, the newest first."""
        return self.live().filter(number__isnull=False).exclude(content="").order_by("-number")

    def active(self) -> "MessageQuerySet":
        """Replies that wait to be written or are being written."""
        return self.filter(status__in=Message.ACTIVE)

    def with_authors(self) -> "MessageQuerySet":
        """Read with their authors, ready to be told to clients."""
        return self.select_related("author_user", "author_assistant")


class Message(models.Model):
    """A turn. `created_seq` places it in the conversation for good; `seq` is its last change."""

    class Role(models.TextChoices):
        """Who speaks, in the model's terms."""

        USER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"

    class Status(models.TextChoices):
        """Where a message stands; only replies are ever anything but complete."""

        COMPLETE = "complete"
        PENDING = "pending"
        STREAMING = "streaming"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    ACTIVE: ClassVar = (Status.PENDING, Status.STREAMING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, db_index=False, related_name="messages"
    )
    author_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    author_assistant = models.ForeignKey(
        Assistant,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="+",
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    content = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    refusal = models.TextField(blank=True)
    tool_calls = models.JSONField(default=list, blank=True)
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.COMPLETE)
    # A reply's is the turn it answers. A person's is, with an assistant, the message it was said
    # under, which makes the conversation a tree of branches; elsewhere, what it quotes.
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="children",
    )
    client_id = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001
    model = models.CharField(max_length=120, blank=True)
    # The language a reply was asked for in; empty: the conversation's, else the assistant's.
    language = models.CharField(max_length=35, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    # Of these, how many belong to runs before the present one: before it was continued.
    earlier_attempts = models.PositiveIntegerField(default=0)
    # A durable mark: someone asked for this reply to stop.
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    usage_estimated = models.BooleanField(default=False)
    finish_reason = models.CharField(max_length=20, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_seq = models.BigIntegerField()
    seq = models.BigIntegerField()
    # Its place among what can be read, given once and never taken back.
    number = models.BigIntegerField(null=True, blank=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "created_seq"], name="message_place_once"
            ),
            models.UniqueConstraint(
                fields=["conversation", "author_user", "client_id"],
                name="message_client_id_once",
                condition=Q(client_id__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "number"],
                name="message_number_once",
                condition=Q(number__isnull=False),
            ),
            models.CheckConstraint(
                name="message_seq_not_before_creation", condition=Q(seq__gte=F("created_seq"))
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "seq"], name="message_seq"),
            models.Index(
                fields=["status", "id"],
                name="message_active",
                condition=Q(status__in=["pending", "streaming"]),
            ),
            models.Index(
                fields=["parent"], name="message_parent", condition=Q(parent__isnull=False)
            ),
            models.Index(
                fields=["conversation", "number"],
                name="message_deleted",
                condition=Q(deleted_at__isnull=False, number__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.id}"


class ReplyChunk(models.Model):
    """A stretch of a reply that is still streaming. UNLOGGED and append-only.

    `index` counts flushes from 0 within an attempt; rows go when the reply ends. There is no
    foreign key in the database: its check would cost a row lock on the message per flush.
    """

    pk = models.CompositePrimaryKey("message_id", "attempt", "index")
    message_id = models.UUIDField()
    attempt = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"chunk {self.index} of {self.message_id}"


class Reaction(models.Model):
    """Someone's mark under a message: `given` is what they want, `counted` what is in the Tally.

    A row that is not both is yet to be counted. There is no foreign key in the database: its
    check would lock the message's row for each of thousands who react at once.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    message = models.ForeignKey(
        Message,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="reactions",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    emoji = models.CharField(max_length=32)
    given = models.BooleanField(default=True)
    counted = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "user", "emoji"], name="reaction_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["message", "emoji", "id"], name="reaction_kind"),
            models.Index(
                fields=["conversation"],
                name="reaction_uncounted",
                condition=Q(given=False) | Q(counted=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.emoji} by {self.user_id}"


class Tally(models.Model):
    """What many people count together under a message. `seq` is the conversation's.

    `reactions` is `[{emoji, count, users}]`, the emoji that was first given first, with the ids
    of the first five people.
    """

    message = models.OneToOneField(
        Message,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="tally",
    )
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    reactions = models.JSONField(default=list)
    seq = models.BigIntegerField()
    counted_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["conversation", "seq"], name="tally_seq")]

    def __str__(self) -> str:
        return f"tally of {self.message_id}"


class Installation(models.Model):
    """The one row about this installation. `epoch` is renewed after a restore from backup."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    epoch = models.UUIDField(default=uuid7)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="installation_is_one", condition=Q(id=1))
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch}"
