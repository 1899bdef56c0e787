"""What a change means for its people's lists: who has it in theirs, and what theirs show."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import Max
from django.db.models.functions import Left

from chat import feed
from chat.models import Conversation, Member, Message, Topic
from chat.unread import Naming, touch_on_commit
from core.publishing import Publication
from protocol.limits import PREVIEW


class Lists:
    """What is to be told to the lists of a conversation's people once its change is stored."""

    def __init__(self, conversation: Conversation) -> None:
        self.joined: list[UUID] = []
        self.left: list[UUID] = []
        # By person, the number of what they wrote.
        self.wrote: dict[UUID, int] = {}
        self.touched = False
        # Whether those who joined may read less from now on.
        self.narrowed = False
        # By person, up to where they have read a thread that they follow from now on.
        self._following: dict[UUID, int] = {}
        self._conversation = conversation
        self._first_seq = conversation.seq
        self._preview: str | None = None
        self._removed: list[int] = []
        self._named: dict[str, Naming] = {}

    def touch(self, *, said: Message | Topic | None, removed: Message | Topic | None) -> None:
        """Have the lists refreshed, for what was `said` or `removed` if that is why."""
        self.touched = True
        if isinstance(said, Topic):
            self._preview = said.title
        elif (
            said is not None
            and said.number == self._conversation.number
            and said.content
            and self._may_be_told(said)
        ):
            self._preview = said.content
        if removed is not None and removed.number is not None:
            self._removed.append(removed.number)

    def named(self, message: Message, people: Iterable[UUID], *, everyone: bool) -> None:
        """Have it told whom a message names as it is now."""
        author = message.author_user_id
        self._named[str(message.number)] = Naming(
            seq=message.seq,
            all=everyone,
            people=[person.hex for person in people],
            by=None if author is None else author.hex,
        )

    def _named_at(self) -> dict[UUID, int]:
        """Of who is named, what comes before that."""
        return {
            UUID(hex=person): int(number) - 1
            for number, naming in self._named.items()
            for person in naming["people"]
        }

    def follow(self, people: Mapping[UUID, int]) -> None:
        """Let these people follow a thread, of which they have read up to this number."""
        self._following.update(people)

    def finish(self) -> list[Publication]:
        """Move the feeds that the change moves, and refresh lists on commit.

        In the conversation's change, once its row is saved. Returns what to tell people.
        """
        publications: list[Publication] = []
        if self._conversation.access_id is not None:
            # Whoever writes in a topic or thread, or is named there, follows it from then on.
            following = {**self._named_at(), **self._following, **self.wrote}
            publications += feed.follow(self._conversation.pk, following)
        if self.narrowed:
            publications += feed.end_unreadable(self._conversation.pk)
        if self.joined:
            publications += feed.begin_reading(self._conversation.pk, self.joined)
        if self.left:
            publications += feed.end_reading(self._conversation.pk, self.left)
        if self.touched:
            touch_on_commit(
                self._conversation,
                preview=self._newest_said() if self._preview is None else self._preview,
                removed=self._removed,
                named=self._named,
                wrote=self.wrote,
            )
        return publications

    def _may_be_told(self, said: Message) -> bool:
        """Say whether everyone may read this; not a reply that is older than a newcomer."""
        if self._conversation.history != Conversation.History.JOINED:
            return True
        return said.created_seq > self._first_seq or said.created_seq > self._newest_member()

    def _newest_member(self) -> int:
        """The seq that the last of those who are there joined with."""
        present = Member.objects.present().people().filter(conversation=self._conversation)
        return present.aggregate(last=Max("joined_seq"))["last"] or 0

    def _newest_said(self) -> str | None:
        """What lists show of the conversation; None if that is nothing new.

        Where newcomers read only what comes after them, nothing that is older than one of them.
        """
        if self._conversation.kind == Conversation.Kind.FORUM:
            topics = Topic.objects.live().filter(forum=self._conversation)
            titles = topics.order_by("-pinned", "-created_at").values_list("title", flat=True)
            return titles.first() or ""
        newest = Message.objects.said().filter(conversation=self._conversation)
        if self._conversation.history == Conversation.History.JOINED:
            if not self._removed:
                return None
            newest = newest.filter(created_seq__gt=self._newest_member())
        return newest.values_list(Left("content", PREVIEW), flat=True).first() or ""
