"""Subscribing: the answer, what happens meanwhile, and what follows."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import User
from chat.models import Conversation, ReplyChunk
from chat.services.messages import send_message
from chat.services.replies import claim_reply
from core.publishing import publish_now, to_conversation
from core.threads import in_thread
from protocol import limits
from protocol.events import ReplyDelta
from tests.chat.socket.client import Socket, Token, key

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("layer_of_this_loop"),
]


@pytest.mark.parametrize("since", [None, 0, 3, 5, 10**9])
async def test_subscribe_and_rest_give_the_same_answer(
    api: Callable[..., APIClient],
    alice: User,
    chat: Conversation,
    token_for: Token,
    since: int | None,
) -> None:
    """Also in the middle of a reply, whose text so far is in no row yet."""

    def stream() -> None:
        for number in range(3):
            sent = send_message(
                user=alice, conversation_id=chat.pk, client_id=str(number), content="hi"
            )
        assert sent.reply is not None
        claim = claim_reply(message_id=sent.reply.pk, conversation_id=chat.pk)
        assert claim is not None
        ReplyChunk.objects.create(
            message_id=sent.reply.pk, attempt=1, index=0, text="Hello, ", reasoning="hm"
        )

    await in_thread(stream)
    async with Socket(await in_thread(token_for, alice)) as socket:
        ack = await socket.command("subscribe", conversation=key(chat), since=since)

    def ask() -> Any:
        query = {} if since is None else {"since": since}
        return api(alice).get(f"/api/conversations/{chat.pk}/changes/", query).json()

    assert ack["changes"] == await in_thread(ask)
    (snapshot,) = ack["changes"]["snapshots"]
    assert (snapshot["index"], snapshot["text"], snapshot["reasoning"]) == (1, "Hello, ", "hm")


async def test_whoever_slept_for_an_hour_wakes_to_all_of_it_in_parts(
    alice: User,
    bob: User,
    group: Conversation,
    token_for: Token,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its token has expired and more has changed than one answer holds."""
    monkeypatch.setattr(limits, "MAX_CHANGES", 7)
    token = AccessToken(await in_thread(token_for, alice))
    async with Socket(str(token)) as phone:
        since = (await phone.command("subscribe", conversation=key(group)))["changes"]["seq"]

    def meanwhile() -> None:
        for number in range(30):
            send_message(
                user=bob, conversation_id=group.pk, client_id=str(number), content=str(number)
            )

    await in_thread(meanwhile)
    token.set_exp(lifetime=-timedelta(hours=1))
    async with Socket(str(token)) as phone:
        assert await phone.close_code() == (4001, "token_expired")

    told: list[str] = []
    async with Socket(await in_thread(token_for, alice)) as phone:
        for _ in range(10):
            ack = await phone.command("subscribe", conversation=key(group), since=since)
            changes = ack["changes"]
            assert len(changes["messages"]) <= 7
            told += [row["content"] for row in changes["messages"]]
            since = changes["seq"]
            if changes["complete"]:
                break
    assert told == [str(number) for number in range(30)]


async def test_an_event_during_subscribing_comes_after_the_answer_and_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.until("hello")

        async def talk() -> None:
            for number in range(30):
                await in_thread(
                    send_message,
                    user=bob,
                    conversation_id=group.pk,
                    client_id=str(number),
                    content=str(number),
                )

        talking = asyncio.create_task(talk())
        ack = await socket.command("subscribe", conversation=key(group), since=group.seq)
        told = [row["content"] for row in ack["changes"]["messages"]]
        before = [frame for frame in socket.seen[:-1] if frame["type"] == "message.created"]
        await talking
        while len(told) < 30:
            told.append((await socket.until("message.created"))["message"]["content"])
        await socket.command("ping")

    assert before == []
    assert told == [str(number) for number in range(30)]
    created = [frame for frame in socket.seen if frame["type"] == "message.created"]
    assert len(created) + len(ack["changes"]["messages"]) == 30


async def test_deltas_already_in_the_snapshot_are_not_sent_again(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=alice, conversation_id=chat.pk, client_id="1", content="hi"
    )
    assert sent.reply is not None
    reply_id = sent.reply.pk
    await in_thread(claim_reply, message_id=reply_id, conversation_id=chat.pk)

    def delta(index: int) -> None:
        event = ReplyDelta(
            conversation=chat.pk, message=reply_id, attempt=1, index=index, text=f"{index} "
        )
        ReplyChunk.objects.create(message_id=reply_id, attempt=1, index=index, text=f"{index} ")
        publish_now(to_conversation(event))

    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.until("hello")

        async def stream() -> None:
            for index in range(60):
                await in_thread(delta, index)

        streaming = asyncio.create_task(stream())
        ack = await socket.command("subscribe", conversation=key(chat))
        (snapshot,) = ack["changes"]["snapshots"]
        text, expected = snapshot["text"], snapshot["index"]
        while expected < 60:
            event = await socket.until("reply.delta")
            assert event["index"] == expected
            text, expected = text + event["text"], expected + 1
        await streaming

    assert text == "".join(f"{index} " for index in range(60))


async def test_each_connection_has_a_name_of_its_own(alice: User, token_for: Token) -> None:
    token = await in_thread(token_for, alice)
    async with Socket(token) as first, Socket(token) as second:
        names = [(await socket.until("hello"))["session"] for socket in (first, second)]
    assert len(set(names)) == 2
