"""Where a socket may be opened, and with which parameters."""

import pytest
from pytest_django import Settings

from accounts.models import User
from chat.models import Assistant, Conversation, Message
from chat.services.messages import send_message
from core.threads import in_thread
from tests.chat.socket.client import Socket, Token, key

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("layer_of_this_loop"),
]


async def test_a_stranger_on_the_conversations_own_route_is_closed_4004(
    charlie: User, group: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, charlie)
    async with Socket(token, f"/ws/conversations/{group.pk}/") as socket:
        assert await socket.close_code() == (4004, "not_found")


@pytest.mark.parametrize(
    "path", ["/", "/ws/nonsense/", "/ws/conversations/", "/ws/conversations/xx/", "/ws", "/wsx/"]
)
async def test_an_address_that_there_is_not_is_closed_4004(
    alice: User, token_for: Token, path: str
) -> None:
    async with Socket(await in_thread(token_for, alice), path) as socket:
        assert await socket.close_code() == (4004, "not_found")


async def test_who_is_nobody_does_not_learn_which_addresses_there_are() -> None:
    async with Socket(None, "/ws/nonsense/") as socket:
        assert await socket.close_code() == (4001, "token_missing")


async def test_the_conversations_own_route_is_subscribed_already(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    async with Socket(token, f"/ws/conversations/{group.pk}/?platform=ios") as socket:
        ack = await socket.until("ack", id="subscribe")
        assert len(ack["changes"]["members"]) == 2
        await in_thread(
            send_message, user=bob, conversation_id=group.pk, client_id="1", content="hello"
        )
        assert (await socket.until("message.created"))["message"]["content"] == "hello"


@pytest.mark.parametrize(
    "query",
    [
        "chatmode=video",
        "platform=%00",
        "assistant=",
        "language=not_a_tag!",
        "colour=red",
        "model=a&model=b",
        "since=-1",
        "since=x",
    ],
)
async def test_parameters_that_cannot_be_used_are_refused_with_a_reason(
    alice: User, token_for: Token, query: str
) -> None:
    async with Socket(await in_thread(token_for, alice), f"/ws/?{query}") as socket:
        error = await socket.until("error", id=None)
        assert error["code"] == "invalid_parameters"
        assert error["details"]["fields"]
        assert await socket.close_code() == (4003, "invalid_parameters")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("assistant=nobody", "assistant"),
        ("character_id=nobody", "assistant"),
        ("assistant=retired", "assistant"),
        ("assistant=retired&model=its-own", "assistant"),
        ("assistant=assistant&model=unheard-of", "model"),
        ("model=unheard-of", "model"),
        ("model=its-own", "model"),
    ],
)
async def test_an_assistant_or_a_model_that_there_is_not_is_refused_at_once(
    alice: User, assistant: Assistant, token_for: Token, query: str, field: str
) -> None:
    await in_thread(
        Assistant.objects.create, slug="retired", name="R", model="its-own", is_active=False
    )
    async with Socket(await in_thread(token_for, alice), f"/ws/?{query}") as socket:
        error = await socket.until("error", id=None)
        assert error["code"] == "invalid_parameters"
        assert [one["field"] for one in error["details"]["fields"]] == [field]
        assert await socket.close_code() == (4003, "invalid_parameters")
    assert [frame["type"] for frame in socket.seen] == ["error"]


@pytest.mark.parametrize(
    "query", ["model=other", "llm=other", "assistant=assistant", "assistant=assistant&model=tiny"]
)
async def test_a_model_that_any_assistant_offers_may_be_named(
    alice: User, assistant: Assistant, token_for: Token, settings: Settings, query: str
) -> None:
    settings.DEFAULT_MODEL = "tiny"
    await in_thread(Assistant.objects.create, slug="first", name="A", model="first")
    async with Socket(await in_thread(token_for, alice), f"/ws/?{query}") as socket:
        assert (await socket.next())["type"] == "hello"


@pytest.mark.parametrize(
    "query", ["assistant=assistant&model=other", "character_id=assistant&llm=other"]
)
async def test_parameters_choose_assistant_model_and_language(
    alice: User, chat: Conversation, token_for: Token, query: str
) -> None:
    token = await in_thread(token_for, alice)
    path = f"/ws/?{query}&language=de&platform=web&chatmode=text"
    async with Socket(token, path) as socket:
        ack = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hallo"
        )

    reply = await in_thread(Message.objects.get, pk=ack["reply"]["id"])
    assert (reply.model, reply.language) == ("other", "de")
