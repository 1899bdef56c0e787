"""Which model is asked, where, and with how much of the past."""

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from chat.llm import ModelSpec, estimate_turns
from chat.models import Assistant, Conversation, Message
from chat.replies.history import continuation
from chat.replies.prompt import (
    MAX_ANSWERS,
    CannotAsk,
    Prompt,
    chosen_model,
    model_spec,
    prompt_for,
)
from chat.services.conversations import create_conversation
from chat.services.messages import send_message
from chat.services.replies import Claim
from chat.services.topics import accept_answer, create_topic
from tests.chat.replies.test_history import say


@pytest.fixture(autouse=True)
def _defaults(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an assistant that says nothing of its own is asked with."""
    settings.DEFAULT_MODEL = "default"
    settings.OPENAI_BASE_URL = "http://default.example.org/v1"
    settings.OPENAI_OPEN_TURNS = False
    settings.MAX_REPLY_TOKENS = 100
    settings.CONTEXT_TOKENS = 1000
    monkeypatch.setenv("OPENAI_API_KEY", "default-key")


@pytest.mark.parametrize(
    ("reply", "conversation", "assistant", "chosen"),
    [
        ("", "", "", "default"),
        ("", "", "own", "own"),
        ("", "allowed", "own", "allowed"),
        ("", "allowed", "", "allowed"),
        ("", "own", "own", "own"),
        ("", "no longer allowed", "own", "own"),
        ("", "no longer allowed", "", "default"),
        ("asked for", "allowed", "own", "asked for"),
    ],
)
def test_the_most_particular_model_that_may_be_used_is_chosen(
    reply: str, conversation: str, assistant: str, chosen: str
) -> None:
    model = chosen_model(
        Message(model=reply),
        Conversation(model=conversation),
        Assistant(model=assistant, allowed_models=["allowed", "also allowed"]),
    )
    assert model == chosen


def test_an_assistant_that_says_nothing_is_asked_by_the_defaults() -> None:
    assert model_spec(Assistant(), "tiny") == ModelSpec(
        model="tiny",
        base_url="http://default.example.org/v1",
        api_key="default-key",
        temperature=None,
        max_tokens=100,
        extra={},
    )


def test_an_assistant_is_asked_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADA_KEY", "adas-key")
    ada = Assistant(
        model="own",
        base_url="http://ada.example.org/v1",
        api_key_variable="ADA_KEY",
        temperature=0.5,
        max_tokens=7,
        parameters={"top_p": 0.9},
    )
    assert model_spec(ada, "tiny") == ModelSpec(
        model="tiny",
        base_url="http://ada.example.org/v1",
        api_key="adas-key",
        temperature=0.5,
        max_tokens=7,
        extra={"top_p": 0.9},
    )


def test_the_default_key_is_not_shown_to_an_assistant_whose_own_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ADA_KEY", raising=False)
    assert model_spec(Assistant(api_key_variable="ADA_KEY"), "tiny").api_key == ""


def test_without_an_address_it_is_openais(settings: Settings) -> None:
    settings.OPENAI_BASE_URL = ""
    assert model_spec(Assistant(), "tiny").base_url is None


def test_who_asks_for_fewer_tokens_gets_fewer() -> None:
    assert model_spec(Assistant(max_tokens=7), "tiny", max_tokens=3).max_tokens == 3


Asked = tuple[Message, Conversation, Assistant]


@pytest.fixture
def asked(alice: User, chat: Conversation, assistant: Assistant) -> Asked:
    """A long conversation, and a reply that is to be written."""
    for _ in range(15):
        say(alice, chat, "word " * 20)
        say(alice, chat, "word " * 20, role="assistant")
    turn = say(alice, chat, "now")
    reply = say(alice, chat, "", role="assistant", parent=turn, author_assistant=assistant)
    return reply, chat, assistant


def prompt(asked: Asked, **of_the_assistant: Any) -> Prompt:
    """What the reply's model is asked."""
    reply, conversation, assistant = asked
    for name, value in of_the_assistant.items():
        setattr(assistant, name, value)
    return prompt_for(Claim(reply, conversation, 1))


@pytest.mark.parametrize(
    ("context", "reply", "room"),
    [
        (None, None, 900),  # the settings' 1,000 less 100
        (500, None, 400),
        (500, 200, 300),
        (500, 300, 250),
        (500, 5000, 250),
    ],
)
def test_the_prompt_has_what_the_reply_leaves_and_at_least_half(
    asked: Asked, context: int | None, reply: int | None, room: int
) -> None:
    """A question and an answer more, of 58 tokens, would not fit."""
    told = estimate_turns(prompt(asked, context_tokens=context, max_tokens=reply).turns)
    assert room - 58 < told <= room


def test_a_continued_reply_is_told_what_it_said_within_the_same_room(asked: Asked) -> None:
    asked[0].content = "said " * 100
    ending = continuation("said " * 100, 400)
    given = prompt(asked, context_tokens=500)
    assert given.turns[-2:] == ending
    assert [turn.role for turn in ending] == ["assistant", "user"]
    assert 400 - 58 < estimate_turns(given.turns) <= 400


def test_a_server_that_goes_on_with_an_open_turn_is_told_to(
    asked: Asked, settings: Settings
) -> None:
    settings.OPENAI_OPEN_TURNS = True
    asked[0].content = "said"
    given = prompt(asked, parameters={"top_p": 0.9})
    assert given.turns[-1].role == "assistant"
    assert given.spec.extra == {
        "top_p": 0.9,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }


def test_a_reply_that_said_nothing_leaves_no_turn_open(asked: Asked, settings: Settings) -> None:
    settings.OPENAI_OPEN_TURNS = True
    given = prompt(asked)
    assert given.turns[-1].role == "user"
    assert given.spec.extra == {}


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_an_address_of_its_own_decides_of_open_turns_for_itself(
    asked: Asked, settings: Settings, default: bool, own: bool
) -> None:
    settings.OPENAI_OPEN_TURNS = default
    asked[0].content = "said"
    here = prompt(asked, open_turns=own)
    elsewhere = prompt(asked, open_turns=own, base_url="http://ada.example.org/v1")
    assert (here.turns[-1].role == "assistant") is default
    assert (elsewhere.turns[-1].role == "assistant") is own
    assert ("continue_final_message" in elsewhere.spec.extra) is own


def test_the_model_is_the_chosen_one_and_the_system_prompt_comes_first(asked: Asked) -> None:
    asked[0].model = "asked for"
    given = prompt(asked, system_prompt="Count.")
    assert given.spec == model_spec(asked[2], "asked for")
    assert (given.turns[0].role, given.turns[0].content) == ("system", "Count.")


def test_in_a_group_people_have_names_and_only_its_own_words_are_the_assistants(
    alice: User, group: Conversation, assistant: Assistant
) -> None:
    other = Assistant.objects.create(slug="other", name="Other")
    say(alice, group, "hello")
    say(alice, group, "mine", role="assistant", author_assistant=assistant)
    turn = say(alice, group, "and you?")
    say(alice, group, "theirs", role="assistant", author_assistant=other, parent=None)
    last = say(alice, group, "now", parent=turn)
    reply = say(alice, group, "", role="assistant", parent=last, author_assistant=assistant)
    _, *turns = prompt_for(Claim(reply, group, 1)).turns
    assert [(turn.role, turn.content) for turn in turns] == [
        ("user", "alice (@alice): hello"),
        ("assistant", "mine"),
        ("user", "alice (@alice): and you?\n\nOther (@other): theirs\n\nalice (@alice): now"),
    ]


def test_with_an_assistant_nobody_is_named(asked: Asked) -> None:
    assert "alice" not in str(prompt(asked).turns)


def test_what_was_not_given_is_not_told(
    alice: User, chat: Conversation, assistant: Assistant
) -> None:
    turn = say(alice, chat, "one")
    half = say(alice, chat, "half", role="assistant", parent=turn, status="cancelled")
    now = say(alice, chat, "two", parent=half)
    reply = say(alice, chat, "", role="assistant", parent=now, author_assistant=assistant)
    _, *turns = prompt_for(Claim(reply, chat, 1)).turns
    assert [turn.content for turn in turns] == ["one", "half", "two"]


def cannot_ask(reply: Message, conversation: Conversation) -> str:
    """Why a reply has no model to ask."""
    with pytest.raises(CannotAsk) as caught:
        prompt_for(Claim(reply, conversation, 1))
    assert str(caught.value) == caught.value.code
    return caught.value.code


def test_there_is_nobody_to_ask_without_an_assistant(asked: Asked) -> None:
    reply, chat, _ = asked
    reply.author_assistant = None
    assert cannot_ask(reply, chat) == "assistant_gone"


def test_an_assistant_that_sets_what_the_stream_sets_is_not_asked(asked: Asked) -> None:
    reply, chat, assistant = asked
    assistant.parameters = {"stream": False}
    assert cannot_ask(reply, chat) == "assistant_misconfigured"


@pytest.mark.parametrize("said", ["", "said already"])
def test_nothing_is_asked_where_nobody_said_anything(
    alice: User, chat: Conversation, assistant: Assistant, said: str
) -> None:
    """What a continued reply is asked with is no turn of anyone's."""
    greeting = say(alice, chat, "Welcome!", role="assistant", author_assistant=assistant)
    reply = say(alice, chat, said, role="assistant", parent=greeting, author_assistant=assistant)
    assert cannot_ask(reply, chat) == "turn_gone"


def accepted(user: User, forum: Conversation, title: str, text: str, **more: Any) -> None:
    """A topic with an answer that was accepted."""
    topic = create_topic(
        user=user, forum_id=forum.pk, client_id=title, title=title, content="?", **more
    ).topic
    answer = send_message(user=user, conversation_id=topic.pk, client_id="answer", content=text)
    accept_answer(user=user, message_id=answer.message.pk)


def test_in_a_forum_a_model_is_told_what_was_accepted_there_before(
    alice: User, assistant: Assistant
) -> None:
    forum, other = (
        create_conversation(user=alice, kind="forum", assistant="assistant") for _ in range(2)
    )
    accepted(alice, other, "Secret", "of another forum")
    accepted(alice, forum, "Boats", "Buy one.", tags=["sea"])
    for place in range(MAX_ANSWERS):
        accepted(alice, forum, f"Number {place}", f"It is {place}.")
    accepted(alice, forum, "Long", "x" * 2000, tags=["sea"])
    topic = create_topic(
        user=alice, forum_id=forum.pk, client_id="new", title="Why?", content="So?", tags=["sea"]
    ).topic
    reply = Message.objects.get(conversation=topic.pk, role="assistant")
    told = prompt_for(Claim(reply, topic.conversation, 1)).turns[0].content
    assert told.startswith("Be brief.")
    assert "Boats\nBuy one." in told
    assert f"Number {MAX_ANSWERS - 1}\n" in told
    assert "Number 0\n" not in told
    # Too long for the room there is.
    assert "Long" not in told
    assert "another forum" not in told
    assert len(told) < 1000


def test_a_model_is_told_no_answer_that_was_deleted(alice: User, assistant: Assistant) -> None:
    forum = create_conversation(user=alice, kind="forum", assistant="assistant")
    accepted(alice, forum, "Boats", "Buy one.")
    Message.objects.filter(content="Buy one.").update(deleted_at="2026-01-01T00:00Z")
    topic = create_topic(
        user=alice, forum_id=forum.pk, client_id="new", title="Why?", content="So?"
    ).topic
    reply = Message.objects.get(conversation=topic.pk, role="assistant")
    told = prompt_for(Claim(reply, topic.conversation, 1)).turns[0].content
    assert "Boats" not in told
