"""A conversation with all that is told of it, for whoever compares the two."""

import json
from typing import Any
from uuid import UUID, uuid4

from accounts.models import User
from chat.models import (
    Conversation,
    Member,
    Message,
    ReplyChunk,
    Topic,
)
from chat.selectors.sync import changes_since
from chat.services import (
    messages,
    reactions,
    replies,
    topic_rows,
    topics,
)
from chat.services.replies import Claim, Outcome
from core.publishing import ROSTERS, Publication, to_conversation, user_group
from protocol.events import ReplyDelta
from tests.faults.known import Frame


class World:
    """Three people, a conversation, and the frames that its changes have published, in order."""

    def __init__(self, conversation: Conversation, alice: User, bob: User, charlie: User) -> None:
        self.id, self.kind = conversation.pk, conversation.kind
        self.alice, self.bob, self.charlie = alice, bob, charlie
        self.published: list[Frame] = []

    def heard(self, *publications: Publication) -> None:
        """Keep what followers of the conversation, and alice on her own group, are told of it."""
        for publication in publications:
            if "frame" not in publication.message:
                continue
            frame = json.loads(publication.message["frame"])
            if "conversation" not in frame:
                continue
            own = publication.group == user_group(self.alice.pk)
            if frame["conversation"] != str(self.id):
                continue
            if own or publication.group.startswith(("conversation.", ROSTERS)):
                self.published.append(frame)

    def fetch(self, since: int | None = None) -> Frame:
        """What `subscribe` and `changes/` answer alice."""
        answer = changes_since(user=self.alice, conversation_id=self.id, since=since)
        return json.loads(answer.model_dump_json())  # type: ignore[no-any-return]

    # --- What people and workers do ----------------------------------------------------------

    def say(self, user: User | None = None, client_id: str = "", **options: Any) -> Message:
        """Say something; return the reply, or the message if there is none."""
        sent = messages.send_message(
            user=user or self.alice,
            conversation_id=self.id,
            client_id=client_id or uuid4().hex,
            content="Is it raining? 🙂",
            **options,
        )
        return sent.reply or sent.message

    def delete(self, message: Message) -> None:
        """Delete a message, as the owner."""
        messages.delete_message(user=self.alice, message_id=message.pk)

    def claim(self, reply: Message) -> Claim:
        """Take a reply as a worker does; its stream begins with what it says already."""
        claim = replies.claim_reply(message_id=reply.pk, conversation_id=self.id)
        assert claim is not None
        if claim.message.content:
            self.flush(claim, claim.message.content)
        return claim

    def flush(self, claim: Claim, text: str) -> None:
        """Store a delta, then publish it, as the flusher does."""
        key = {"message_id": claim.message.pk, "attempt": claim.attempt}
        index = ReplyChunk.objects.filter(**key).count()
        ReplyChunk.objects.create(**key, index=index, text=text)
        self.heard(
            to_conversation(
                ReplyDelta(
                    conversation=self.id,
                    message=claim.message.pk,
                    attempt=claim.attempt,
                    index=index,
                    text=text,
                )
            )
        )

    def finish(self, claim: Claim, status: str = "complete") -> bool:
        """End a reply with the text that was flushed."""
        rows = ReplyChunk.objects.filter(message_id=claim.message.pk, attempt=claim.attempt)
        outcome = Outcome(
            status=status,
            content="".join(rows.order_by("index").values_list("text", flat=True)),
            finish_reason="stop" if status == "complete" else "",
            error_code="upstream" if status == "failed" else "",
            model="fake",
            input_tokens=3,
            output_tokens=5,
        )
        return replies.finish_reply(
            message_id=claim.message.pk,
            conversation_id=self.id,
            attempt=claim.attempt,
            outcome=outcome,
        )

    # --- In a forum --------------------------------------------------------------------------

    def ask(self, user: User | None = None, **options: Any) -> Topic:
        """Begin a topic."""
        options = {"title": "Why does it rain?", "tags": ["weather"], **options}
        begun = topics.create_topic(
            user=user or self.alice,
            forum_id=self.id,
            client_id=uuid4().hex,
            content="It does so often.",
            **options,
        )
        return begun.topic

    def answer(self, topic: Topic, user: User | None = None) -> Message:
        """Say something in a topic."""
        return messages.send_message(
            user=user or self.bob,
            conversation_id=topic.pk,
            client_id=uuid4().hex,
            content="Clouds are heavy.",
        ).message

    def solved(self) -> Message:
        """An answer that was accepted."""
        answer = self.answer(self.ask())
        topics.accept_answer(user=self.alice, message_id=answer.pk)
        return answer

    def refresh(self, topic: Topic) -> None:
        """Bring what the forum lists of a topic up to date, as is done every few seconds."""
        assert topic_rows.refresh_topic(topic_id=topic.pk) == 0

    def streaming(self) -> Claim:
        """A reply that has said something."""
        claim = self.claim(self.say(assistant="assistant"))
        self.flush(claim, "No, ")
        self.flush(claim, "it ")
        return claim

    def react(self, user: User, message: Message, emoji: str, *, on: bool = True) -> None:
        """Give an emoji, or take it back; it is not counted yet."""
        reactions.react(user=user, message_id=message.pk, emoji=emoji, on=on)

    def count(self) -> None:
        """Count all reactions, as is done once a second."""
        while reactions.count_reactions(conversation_id=self.id):
            pass

    def member(self, user: User) -> UUID:
        """A person's membership."""
        return Member.objects.get(conversation_id=self.id, user=user).pk
