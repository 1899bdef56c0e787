"""Rows as clients see them: whole, and with nothing that is not theirs to see."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import User
from chat.models import Assistant, Conversation, Member, Message
from chat.states import (
    assistant_state,
    author_state,
    conversation_state,
    member_state,
    message_state,
    person_state,
)
from protocol.states import AuthorState, PersonState, UsageState


def at(hour: int) -> datetime:
    """A time of one day."""
    return datetime(2026, 1, 1, hour, tzinfo=UTC)


@pytest.fixture
def person() -> User:
    """Someone with a name of their own."""
    return User(username="alice", display_name="Alice A.", email="alice@example.org")


@pytest.fixture
def ada() -> Assistant:
    """An assistant, of which everything differs."""
    return Assistant(
        slug="ada",
        name="Ada",
        description="Counts.",
        avatar="🧮",
        model="tiny",
        base_url="https://models.example.org",
        api_key_variable="ADA_KEY",
        system_prompt="Count.",
        language="de",
        allowed_models=["large", "larger"],
    )


@pytest.fixture
def conversation(person: User) -> Conversation:
    """A conversation, of which everything differs."""
    return Conversation(
        kind="group",
        title="Lunch",
        creator=person,
        model="large",
        language="fr",
        seq=9,
        changed_seq=4,
        created_at=at(1),
        active_at=at(2),
    )


@pytest.fixture
def reply(conversation: Conversation, ada: Assistant, person: User) -> Message:
    """A reply, of which everything differs."""
    parent = Message(conversation=conversation, author_user=person, role="user")
    return Message(
        conversation=conversation,
        author_assistant=ada,
        role="assistant",
        content="Four.",
        reasoning="Two and two.",
        refusal="Not five.",
        tool_calls=[{"id": "1", "name": "add", "arguments": "{}"}],
        status="interrupted",
        parent=parent,
        client_id="c1",
        model="large",
        attempt=2,
        input_tokens=11,
        output_tokens=7,
        usage_estimated=True,
        finish_reason="length",
        error_code="idle_timeout",
        created_at=at(3),
        edited_at=at(4),
        created_seq=5,
        mentions=[{"type": "all", "id": None, "start": 0, "length": 4}],
        number=9,
        seq=6,
    )


def test_a_person_is_seen_by_name(person: User) -> None:
    state = person_state(person)
    assert state == PersonState(id=person.pk, name="Alice A.", is_guest=False)


def test_a_guest_is_seen_to_be_one(person: User) -> None:
    person.is_guest = True
    assert person_state(person).is_guest


def test_an_assistant_is_seen_without_its_key_address_and_prompt(ada: Assistant) -> None:
    assert assistant_state(ada).model_dump() == {
        "id": ada.pk,
        "slug": "ada",
        "name": "Ada",
        "avatar": "🧮",
        "description": "Counts.",
        "model": "tiny",
        "allowed_models": ["large", "larger"],
        "language": "de",
    }


def test_a_conversation_is_seen_whole(conversation: Conversation, person: User) -> None:
    assert conversation_state(conversation).model_dump() == {
        "id": conversation.pk,
        "kind": "group",
        "title": "Lunch",
        "topic_text": "",
        "avatar": "",
        "access": "private",
        "history": "all",
        "archived_at": None,
        "parent": None,
        "root": None,
        "members_of": conversation.pk,
        "slow_seconds": 0,
        "threads": "on",
        "responder": None,
        "policy": {},
        "seq": 9,
        "changed_seq": 4,
        "creator": person.pk,
        "model": "large",
        "language": "fr",
        "created_at": at(1),
        "active_at": at(2),
    }


def test_a_message_is_seen_whole(
    reply: Message, conversation: Conversation, ada: Assistant
) -> None:
    assert message_state(reply).model_dump() == {
        "id": reply.pk,
        "conversation": conversation.pk,
        "seq": 6,
        "created_seq": 5,
        "author": {
            "type": "assistant",
            "id": ada.pk,
            "name": "Ada",
            "avatar": "🧮",
            "is_guest": False,
        },
        "role": "assistant",
        "content": "Four.",
        "reasoning": "Two and two.",
        "refusal": "Not five.",
        "tool_calls": [{"id": "1", "name": "add", "arguments": "{}"}],
        "status": "interrupted",
        "parent": reply.parent_id,
        "client_id": "c1",
        "model": "large",
        "attempt": 2,
        "usage": {"input_tokens": 11, "output_tokens": 7, "estimated": True},
        "finish_reason": "length",
        "error_code": "idle_timeout",
        "created_at": at(3),
        "edited_at": at(4),
        "deleted_at": None,
        "number": 9,
        "deleted_by": None,
        "pinned_at": None,
        "pinned_by": None,
        "mentions": [{"type": "all", "id": None, "start": 0, "length": 4}],
    }


def test_a_deleted_message_keeps_its_place_and_loses_its_text(reply: Message) -> None:
    before = message_state(reply)
    reply.deleted_at = at(5)
    assert message_state(reply) == before.model_copy(
        update={
            "content": "",
            "reasoning": "",
            "refusal": "",
            "tool_calls": [],
            "deleted_at": at(5),
            "mentions": [],
        }
    )


@pytest.mark.parametrize("counts", [(None, None), (11, None), (None, 7)])
def test_usage_that_is_not_known_is_none(
    reply: Message, counts: tuple[int | None, int | None]
) -> None:
    reply.input_tokens, reply.output_tokens = counts
    assert message_state(reply).usage is None


def test_usage_of_nothing_is_known(reply: Message) -> None:
    reply.input_tokens = reply.output_tokens = 0
    reply.usage_estimated = False
    usage = UsageState(input_tokens=0, output_tokens=0, estimated=False)
    assert message_state(reply).usage == usage


def test_a_person_who_wrote_a_message_is_its_author(person: User) -> None:
    author = author_state(Message(author_user=person))
    assert author == AuthorState(type="user", id=person.pk, name="Alice A.", avatar="")


def test_a_guests_messages_say_that_they_are_a_guests(person: User) -> None:
    person.is_guest = True
    author = author_state(Message(author_user=person))
    assert author is not None
    assert author.is_guest


def test_a_message_whose_author_is_gone_has_none() -> None:
    assert author_state(Message()) is None


@pytest.fixture
def membership(conversation: Conversation) -> dict[str, Any]:
    """What the rows of people and assistants have in common; everything differs."""
    return {
        "conversation": conversation,
        "role": "admin",
        "silenced_until": None,
        "hears": None,
        "reads": None,
        "nickname": "A.",
        "joined_at": at(6),
        "left_at": at(7),
        "seq": 8,
    }


def test_a_member_is_seen_without_what_they_are_notified_of(
    membership: dict[str, Any], conversation: Conversation, person: User
) -> None:
    member = Member(user=person, **membership)
    assert member_state(member).model_dump() == {
        "id": member.pk,
        "conversation": conversation.pk,
        "seq": 8,
        "user": person_state(person).model_dump(),
        "assistant": None,
        "role": "admin",
        "silenced_until": None,
        "hears": None,
        "reads": None,
        "nickname": "A.",
        "invited_by": None,
        "joined_at": at(6),
        "left_at": at(7),
    }


def test_an_assistant_is_a_member_too(membership: dict[str, Any], ada: Assistant) -> None:
    state = member_state(Member(assistant=ada, **membership))
    assert (state.user, state.assistant) == (None, assistant_state(ada))
