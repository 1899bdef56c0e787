"""`manage.py demo`: people, assistants and a room to try Chatire with, made once."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.crypto import get_random_string
from uuid_utils.compat import uuid7

from accounts.models import User
from chat.change import changing
from chat.models import Assistant, Conversation, Message
from chat.models.tokens import invitation_token
from chat.services.assistants import make_first_assistant
from chat.services.conversations import create_conversation, open_direct
from chat.services.joining import create_invitation
from chat.services.members import new_member
from chat.services.messages import send_message
from chat.services.reactions import react, vote
from chat.services.replies import Outcome, claim_reply, finish_reply
from chat.services.topics import accept_answer, create_topic

_WRITER = {
    "slug": "writer",
    "name": "Writer",
    "description": "Drafts, rewrites and plays with words.",
    "system_prompt": "You are a writer. Help with drafts, rewriting and wording.",
    "temperature": 0.8,
}


class Command(BaseCommand):
    """Make the demo people (alice, bob), two assistants, a room of all four, a forum, once."""

    help = "Make demo people, assistants and a room, once. Not for production."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take a password."""
        parser.add_argument("--password", default="", help="alice's and bob's; else a new one")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing; what was changed since stays as it is.

        The people's password is the one that is given, else a new one; it is printed.
        """
        if settings.PRODUCTION:
            raise CommandError("Demo people have a password that is printed; not in production.")
        make_first_assistant()
        Assistant.objects.get_or_create(slug=_WRITER["slug"], defaults=_WRITER)
        password = options["password"] or get_random_string(12)
        with transaction.atomic():
            alice, bob = (_person(name, password) for name in ("alice", "bob"))
            if not Conversation.objects.filter(creator__in=[alice, bob]).exists():
                _make_room(alice, bob)
                _make_forum(alice, bob)
        self.stdout.write(f"Demo people: alice and bob, password {password}")


def _person(name: str, password: str) -> User:
    user = User.objects.filter(username__iexact=name).first()
    if user is None:
        return User.objects.create_user(
            name, f"{name}@example.org", password, display_name=name.title()
        )
    if not user.check_password(password):
        # What is printed holds.
        user.set_password(password)
        user.save(update_fields=["password"])
    return user


def _make_room(alice: User, bob: User) -> None:
    """A room that says what a room is, with something that alice has yet to read."""
    room = create_conversation(
        user=alice,
        kind="group",
        title="Welcome to Chatire",
        topic_text="People and assistants in one room. Try everything here.",
        avatar="👋",
        assistant="assistant",
        members=[bob.pk],
    )
    with changing(room.pk) as change:
        new_member(change=change, assistant=Assistant.objects.get(slug=_WRITER["slug"]))
    link = create_invitation(user=alice, conversation_id=room.pk, guests=True, label="Demo")
    _say(alice, room, "Hi Bob! @assistant, what can people do in this room?", "assistant")
    _answer(
        room,
        "You write to each other, and to me or **Writer** by naming us. Answers are written here"
        " as they are made, for everyone, and go on when you reload or the server restarts. Point"
        " at a message to react to it.",
    )
    _say(alice, room, "@writer, a line for the door of our kitchen?", "writer")
    verse = _answer(room, "> *Come in hungry, go out happy.*")
    react(user=bob, message_id=verse.pk, emoji="🎉", on=True)
    _say(
        alice,
        room,
        f"Whoever has this link comes in, also without an account: /join/{invitation_token(link)}",
    )
    # Alice has not read these.
    _say(bob, room, "That one goes on the door.")
    _say(bob, room, "The two of us are new here: open the menu above for the room's details.")
    direct, _ = open_direct(user=bob, people=[alice.pk])
    _say(bob, direct, "And this is only between you and me.")


def _make_forum(alice: User, bob: User) -> None:
    """A forum with a question that was answered, and one that waits for somebody."""
    forum = create_conversation(
        user=alice,
        kind="forum",
        title="Questions and answers",
        topic_text="Ask, answer, vote; whoever asked accepts what helped.",
        avatar="💡",
        members=[bob.pk],
    )
    asked = _ask(bob, forum, "How do I get a line break without sending?", ["writing"])
    _say(alice, asked, "**Shift + Enter**. A message may be Markdown, too: lists, tables, code.")
    answer = Message.objects.get(conversation=asked, author_user=alice)
    vote(user=bob, message_id=answer.pk, on=True)
    accept_answer(user=bob, message_id=answer.pk)
    _ask(bob, forum, "Which of us waters the plants this week?", ["office"])


def _ask(user: User, forum: Conversation, title: str, tags: list[str]) -> Conversation:
    begun = create_topic(
        user=user,
        forum_id=forum.pk,
        client_id=uuid7().hex,
        title=title,
        content="I could not find out by myself.",
        tags=tags,
    )
    return begun.topic.conversation


def _say(user: User, room: Conversation, text: str, assistant: str | None = None) -> None:
    send_message(
        user=user,
        conversation_id=room.pk,
        client_id=uuid7().hex,
        content=text,
        assistant=assistant,
    )


def _answer(room: Conversation, text: str) -> Message:
    """Answer what was asked last, as if a model had."""
    reply = Message.objects.active().get(conversation=room)
    claim = claim_reply(message_id=reply.pk, conversation_id=room.pk)
    if claim is not None:
        finish_reply(
            message_id=reply.pk,
            conversation_id=room.pk,
            attempt=claim.attempt,
            outcome=Outcome(status="complete", content=text, finish_reason="stop"),
        )
    return reply
