"""The socket: who may follow what, commands and their answers, events and their order."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from channels.layers import get_channel_layer
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import Session, User
from accounts.services import revoke_session
from chat.models import Assistant, Conversation, Member, Message, ReplyChunk
from chat.services.conversations import (
    change_conversation,
    create_conversation,
    delete_conversation,
)
from chat.services.members import add_member, change_member, remove_member
from chat.services.messages import edit_message, send_message
from chat.services.replies import claim_reply
from core.publishing import Publication, publish_now, to_conversation, user_group
from core.threads import in_thread
from protocol import limits
from protocol.events import ReplyDelta
from tests.chat.socket.client import DEADLINE, Socket

Token = Callable[[User], str]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _layer_of_this_loop() -> AsyncIterator[None]:
    """Each test has an event loop of its own; the layer's tasks on it end with it."""
    yield
    await get_channel_layer().close()


def key(conversation: Conversation) -> str:
    """The conversation's id as frames carry it."""
    return str(conversation.pk)


async def test_hello_comes_first_and_says_what_a_client_must_know(
    alice: User, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        hello = await socket.next()

    assert hello["type"] == "hello"
    assert hello["protocol"] == "chatire.v1"
    assert hello["user"] == {"id": str(alice.pk), "name": "alice", "is_guest": False}
    assert hello["heartbeat"] == 25
    assert hello["limits"]["frame_bytes"] == limits.MAX_FRAME_BYTES
    assert hello["epoch"]


async def test_what_is_said_over_rest_arrives_once_at_every_member(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with (
        Socket(await in_thread(token_for, alice)) as first,
        Socket(await in_thread(token_for, bob)) as second,
    ):
        for socket in (first, second):
            await socket.command("subscribe", conversation=key(group))
        said = await in_thread(
            send_message,
            user=alice,
            conversation_id=group.pk,
            client_id="1",
            content="hello",
        )
        for socket in (first, second):
            event = await socket.until("message.created")
            assert event["message"]["content"] == "hello"
            assert event["seq"] == said.message.seq
            assert event["message"]["author"]["name"] == "alice"
            # Were it to come twice, it would come before the answer to a later command.
            await socket.command("ping")
            assert [f["type"] for f in socket.seen].count("message.created") == 1


async def test_an_event_is_the_same_bytes_for_every_socket_that_takes_whole_frames(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    written: asyncio.Queue[bytes] = asyncio.Queue()

    def write(frame: bytes) -> bool:
        written.put_nowait(frame)
        return True

    async def frames(containing: bytes) -> list[bytes]:
        found: list[bytes] = []
        async with asyncio.timeout(DEADLINE):
            while len(found) < 3:
                frame = await written.get()
                if containing in frame:
                    found.append(frame)
        return found

    path, extensions = f"/ws/conversations/{group.pk}/", {"chatire.write": write}
    tokens = [await in_thread(token_for, one) for one in (alice, bob, bob)]
    sockets = [Socket(token, path, extensions=extensions) for token in tokens]
    for socket in sockets:
        await socket.__aenter__()
    await frames(b'"id":"subscribe"')
    await in_thread(
        send_message, user=alice, conversation_id=group.pk, client_id="1", content="hello"
    )
    first, *others = await frames(b'"message.created"')
    assert all(other is first for other in others)
    for socket in sockets:
        await socket.__aexit__()


async def test_what_is_said_over_the_socket_is_stored_and_acknowledged(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        ack = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )
        again = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )

    assert ack["message"]["content"] == "hello"
    assert ack["reply"]["status"] == "pending"
    assert again["message"]["id"] == ack["message"]["id"]
    assert await in_thread(Message.objects.count) == 2


async def test_a_message_is_edited_and_its_branch_heard_by_another_device(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    async with Socket(token) as socket, Socket(token) as other:
        for each in (socket, other):
            await each.command("subscribe", conversation=key(chat))
        said = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )
        edit = {"message": said["message"]["id"], "client_id": "2", "content": "hallo"}
        ack = await socket.command("message.edit", **edit)
        again = await socket.command("message.edit", **edit)
        assert (ack["message"]["content"], ack["message"]["parent"]) == ("hallo", None)
        assert ack["reply"]["parent"] == ack["message"]["id"]
        assert (again["message"]["id"], again["reply"]["id"]) == (
            ack["message"]["id"],
            ack["reply"]["id"],
        )
        stopped = await other.until("message.updated")
        assert (stopped["message"]["id"], stopped["message"]["status"]) == (
            said["reply"]["id"],
            "cancelled",
        )
        heard = await other.until("message.created", seq=ack["reply"]["seq"])
        assert heard["message"] == ack["reply"]


async def test_a_reply_goes_on_from_another_device_after_a_reconnect(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    async with Socket(token) as socket:
        said = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )
        reply = said["reply"]["id"]
        stopped = await socket.command("reply.stop", message=reply)
        assert stopped["message"]["status"] == "cancelled"
    async with Socket(token) as other:
        first = await other.command("reply.continue", message=reply)
        second = await other.command("reply.continue", message=reply)
        assert first["message"]["status"] == "pending"
        assert second["message"] == first["message"]
        refused = await other.command("reply.continue", message=said["message"]["id"])
        assert (refused["type"], refused["code"]) == ("error", "invalid")


async def test_a_stranger_edits_stops_and_continues_nothing(
    alice: User, charlie: User, chat: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=alice, conversation_id=chat.pk, client_id="1", content="hello"
    )
    async with Socket(await in_thread(token_for, charlie)) as socket:
        for command, message, fields in (
            ("message.edit", sent.message, {"client_id": "2", "content": "hallo"}),
            ("reply.stop", sent.reply, {}),
            ("reply.regenerate", sent.reply, {}),
            ("reply.continue", sent.reply, {}),
        ):
            assert message is not None
            answer = await socket.command(command, message=str(message.pk), **fields)
            assert (answer["type"], answer["code"]) == ("error", "not_found")
    assert await in_thread(Message.objects.filter(content="hallo").count) == 0


async def test_a_stranger_is_told_nothing(
    charlie: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, charlie)) as socket:
        for command, fields in (
            ("subscribe", {}),
            ("message.send", {"client_id": "1", "content": "let me in"}),
            ("read", {"number": 1}),
            ("typing", {"active": True}),
        ):
            answer = await socket.command(command, conversation=key(group), **fields)
            assert (answer["type"], answer["code"]) == ("error", "not_found")
        await in_thread(change_conversation_by_owner, group)
        await socket.command("ping")
        assert "conversation.updated" not in [frame["type"] for frame in socket.seen]


def change_conversation_by_owner(group: Conversation) -> None:
    """Rename it as whoever made it."""
    assert group.creator is not None
    change_conversation(user=group.creator, conversation_id=group.pk, title="Other")


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


@pytest.mark.parametrize("letter", ["a", "東", "🙂"])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_the_longest_content_is_taken_however_its_json_is_written(
    alice: User, group: Conversation, token_for: Token, letter: str, ascii_only: bool
) -> None:
    frame = {
        "type": "message.send",
        "id": "i" * 64,
        "conversation": key(group),
        "client_id": "c" * 64,
        "content": letter * limits.MAX_CONTENT,
    }
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.send_text(json.dumps(frame, ensure_ascii=ascii_only))
        ack = await socket.until("ack")
        assert ack["message"]["content"] == frame["content"]
        frame["content"] += letter
        await socket.send_text(json.dumps(frame, ensure_ascii=ascii_only))
        error = await socket.until("error")
        assert (error["code"], error["details"]["fields"][0]["field"]) == ("invalid", "content")


def test_the_server_takes_every_frame_that_is_within_the_limit() -> None:
    procfile = (Path(__file__).resolve().parents[3] / "Procfile").read_text()
    (size,) = re.findall(r"--ws-max-size (\d+)", procfile)
    # A little more, so that it is we who say why a frame is refused.
    assert int(size) == limits.MAX_FRAME_BYTES + 1024


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


@pytest.mark.parametrize(
    ("frame", "code", "field"),
    [
        ({"type": "message.sing", "id": "1"}, "unknown_type", ""),
        ({"id": "1"}, "unknown_type", ""),
        ({"type": "ping"}, "invalid", "id"),
        ({"type": "ping", "id": 7}, "invalid", "id"),
        ({"type": "ping", "id": "1", "extra": 1}, "invalid", "extra"),
        ({"type": "subscribe", "id": "1"}, "invalid", "conversation"),
        ({"type": "subscribe", "id": "1", "conversation": "x"}, "invalid", "conversation"),
        (
            {"type": "subscribe", "id": "1", "conversation": "0" * 32, "since": -1},
            "invalid",
            "since",
        ),
        (
            {"type": "subscribe", "id": "1", "conversation": "0" * 32, "since": "12"},
            "invalid",
            "since",
        ),
        (
            {"type": "message.send", "id": "1", "conversation": "0" * 32, "client_id": "1"},
            "invalid",
            "content",
        ),
        (["not", "an", "object"], "unknown_type", ""),
        (None, "unknown_type", ""),
        ("ping", "unknown_type", ""),
    ],
)
async def test_a_frame_that_is_no_command_gets_an_error_and_the_socket_stays(
    alice: User, token_for: Token, frame: Any, code: str, field: str
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.send_text(json.dumps(frame))
        error = await socket.until("error")
        assert error["code"] == code
        assert error["details"]["fields"][0]["field"] == field
        assert (await socket.command("ping"))["type"] == "pong"


@pytest.mark.parametrize("text", ["", "{", "not json", '{"type": NaN', "[" * 30_000])
async def test_what_is_not_json_closes_1003(alice: User, token_for: Token, text: str) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.send_text(text)
        assert await socket.close_code() == (1003, "not_json")


async def test_a_binary_frame_closes_1003(alice: User, token_for: Token) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.send_bytes(b"\x00")
        assert await socket.close_code() == (1003, "not_json")


@pytest.mark.parametrize("text", ["x" * 1024 * 1024, "é" * 210_000])
async def test_a_frame_over_the_limit_closes_1009(alice: User, token_for: Token, text: str) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.send_text(f'"{text}"')
        assert await socket.close_code() == (1009, "frame_too_big")


async def test_too_many_frames_close_4013_and_say_when_to_come_back(
    alice: User, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        for number in range(limits.FRAMES_BURST + 50):
            await socket.send(type="ping", id=str(number))
        code, reason = await socket.close_code()

    assert code == 4013
    assert reason.startswith("retry_after=")


async def test_commands_are_answered_once_each_in_order(
    alice: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        for number in range(20):
            await socket.send(
                type="message.send",
                id=str(number),
                conversation=key(group),
                client_id=str(number),
                content=str(number),
            )
        answers = [await socket.until("ack") for _ in range(20)]

    assert [answer["id"] for answer in answers] == [str(number) for number in range(20)]
    stored = Message.objects.order_by("created_seq").values_list("content", flat=True)
    assert await in_thread(list, stored) == [str(number) for number in range(20)]


async def test_more_waiting_commands_than_allowed_are_refused_not_lost_silently(
    alice: User, group: Conversation, token_for: Token
) -> None:
    count = limits.MAX_WAITING_COMMANDS * 3
    async with Socket(await in_thread(token_for, alice)) as socket:
        for number in range(count):
            await socket.send(
                type="message.send",
                id=str(number),
                conversation=key(group),
                client_id=str(number),
                content="x",
            )
        answers: dict[str, str] = {}
        while len(answers) < count:
            frame = await socket.next()
            if frame["type"] in {"ack", "error"}:
                assert frame["id"] not in answers
                answers[frame["id"]] = frame.get("code", "ack")

    kept = sum(answer == "ack" for answer in answers.values())
    assert kept >= limits.MAX_WAITING_COMMANDS
    assert set(answers.values()) <= {"ack", "too_many_commands"}
    assert await in_thread(Message.objects.count) == kept


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


async def test_a_member_who_is_changed_is_told_so_and_goes_on_following(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    member = await in_thread(Member.objects.get, conversation=group, user=bob)
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(
            change_member,
            user=alice,
            conversation_id=group.pk,
            member_id=member.pk,
            nickname="Bobby",
        )
        told = await socket.until("member.updated")
        assert (told["member"]["nickname"], told["member"]["left_at"]) == ("Bobby", None)
        await in_thread(
            send_message, user=alice, conversation_id=group.pk, client_id="1", content="hello"
        )
        await socket.until("message.created")
        assert "member.left" not in [frame["type"] for frame in socket.seen]


async def test_a_deletion_is_answered_and_told_to_those_who_follow(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=bob, conversation_id=group.pk, client_id="1", content="secret"
    )
    tokens = [await in_thread(token_for, person) for person in (alice, bob)]
    async with Socket(tokens[0]) as watching, Socket(tokens[1]) as deleting:
        await watching.command("subscribe", conversation=key(group))
        answered = await deleting.command("message.delete", message=str(sent.message.pk))
        assert answered["type"] == "ack"
        assert answered["message"]["content"] == ""
        heard = await watching.until("message.updated")
        assert heard["message"] == answered["message"]


async def test_a_reaction_is_answered_and_then_counted_for_all_who_follow(
    alice: User, bob: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=bob, conversation_id=group.pk, client_id="1", content="lunch"
    )
    mark = {"message": str(sent.message.pk), "emoji": "❤️", "on": True}
    tokens = [await in_thread(token_for, person) for person in (alice, bob, charlie)]
    async with Socket(tokens[0]) as one, Socket(tokens[1]) as two, Socket(tokens[2]) as stranger:
        await one.command("subscribe", conversation=key(group))
        counted = {"emoji": "❤", "count": 1, "users": [str(bob.pk)]}
        answered = await two.command("message.react", **mark)
        assert answered["tally"]["reactions"] == [counted]
        assert answered["tally"]["mine"] == ["❤"]
        heard = await one.until("tally.updated")
        assert [tally["reactions"] for tally in heard["tallies"]] == [[counted]]
        by = {"message": mark["message"], "user": str(bob.pk), "emojis": ["❤"]}
        assert heard["by"] == [by]
        await two.command("message.react", **mark)
        refused = await stranger.command("message.react", **mark)
        assert refused["code"] == "not_found"


async def test_a_removed_member_stops_receiving_at_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    member = await in_thread(Member.objects.get, conversation=group, user=bob)
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(remove_member, user=alice, conversation_id=group.pk, member_id=member.pk)
        left = await socket.until("member.left")
        assert left["member"]["user"]["id"] == str(bob.pk)
        await in_thread(
            send_message, user=alice, conversation_id=group.pk, client_id="1", content="secret"
        )
        await in_thread(change_conversation, user=alice, conversation_id=group.pk, title="New")
        await socket.command("ping")
        assert "message.created" not in [frame["type"] for frame in socket.seen]
        again = await socket.command("subscribe", conversation=key(group), since=0)
        assert again["code"] == "not_found"


async def test_a_deactivation_lost_in_a_gap_is_found_out(alice: User, token_for: Token) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.until("hello")
        await in_thread(User.objects.filter(pk=alice.pk).update, is_active=False)
        await in_thread(publish_now, gap_of(alice))
        assert await socket.close_code() == (4001, "session_revoked")


def gap_of(user: User) -> Publication:
    """What the layer tells sockets that may have missed something."""
    return Publication(user_group(user.pk), {"type": "layer.gap"})


async def test_a_removal_that_was_lost_in_a_gap_takes_effect_after_it(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    other = await in_thread(lambda: create_conversation(user=alice, kind="group", members=[bob.pk]))
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await socket.command("subscribe", conversation=key(other))
        membership = Member.objects.filter(conversation=group, user=bob)
        await in_thread(lambda: membership.update(left_at=timezone.now()))
        await get_channel_layer().group_send(user_group(bob.pk), {"type": "layer.gap"})
        await socket.until("resync", conversation=None)
        for conversation in (group, other):
            await in_thread(
                send_message,
                user=alice,
                conversation_id=conversation.pk,
                client_id="1",
                content="hello",
            )
        heard = await socket.until("message.created")
        assert heard["conversation"] == key(other)


async def test_a_revocation_that_was_lost_in_a_gap_takes_effect_after_it(
    alice: User, token_for: Token
) -> None:
    token = AccessToken(await in_thread(token_for, alice))
    async with Socket(str(token)) as socket:
        await socket.until("hello")
        session = Session.objects.filter(pk=token["sid"])
        await in_thread(lambda: session.update(revoked_at=timezone.now()))
        await get_channel_layer().group_send(user_group(alice.pk), {"type": "layer.gap"})
        assert await socket.close_code() == (4001, "session_revoked")


async def test_being_added_shows_without_a_reload(
    alice: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, charlie)) as socket:
        await socket.until("hello")
        await in_thread(add_member, user=alice, conversation_id=group.pk, person=charlie.pk)
        told = await socket.until("mine.updated")
        assert [mine["conversation"] for mine in told["mine"]] == [key(group)]


async def test_lists_stay_live_without_subscribing(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.until("hello")
        for number in range(3):
            await in_thread(
                send_message,
                user=alice,
                conversation_id=group.pk,
                client_id=str(number),
                content=f"x{number}",
            )
        rooms: list[Any] = []
        while not rooms or rooms[-1]["number"] < 3:
            rooms += (await socket.until("rooms.touched"))["rooms"]
        assert (rooms[-1]["conversation"], rooms[-1]["preview"]) == (key(group), "x2")
        assert rooms[-1]["read"] is None
        answer = await socket.command("read", conversation=key(group), number=2)
        assert (answer["mine"]["read"], answer["mine"]["unread"]) == (2, 1)
        told = await socket.until("mine.updated")
        assert told["mine"] == [answer["mine"]]


async def test_what_one_writes_elsewhere_is_read_here(
    bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.until("hello")
        await in_thread(
            send_message, user=bob, conversation_id=group.pk, client_id="1", content="x"
        )
        (room,) = (await socket.until("rooms.touched"))["rooms"]
        assert (room["number"], room["read"]) == (1, 1)


async def test_a_deleted_conversation_is_announced_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(delete_conversation, user=alice, conversation_id=group.pk)
        await socket.until("conversation.deleted")
        await socket.command("ping")
        assert [f["type"] for f in socket.seen].count("conversation.deleted") == 1


async def test_typing_reaches_those_who_follow(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with (
        Socket(await in_thread(token_for, alice)) as first,
        Socket(await in_thread(token_for, bob)) as second,
    ):
        await first.command("subscribe", conversation=key(group))
        await second.command("subscribe", conversation=key(group))
        await first.send(type="typing", id="t", conversation=key(group), active=True)
        event = await second.until("typing")
        assert (event["user"], event["active"]) == (str(alice.pk), True)


async def test_an_expired_token_closes_4001_once_the_grace_is_over(
    alice: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKEN_GRACE_SECONDS", 0)
    token = AccessToken(await in_thread(token_for, alice))
    token.set_exp(lifetime=timedelta(seconds=3))
    async with Socket(str(token)) as socket:
        assert await socket.close_code() == (4001, "token_expired")
        assert socket.seen[0]["type"] == "hello"


async def test_auth_renews_the_token_in_place(
    alice: User, bob: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKEN_GRACE_SECONDS", 0)
    token = AccessToken(await in_thread(token_for, alice))
    token.set_exp(lifetime=timedelta(seconds=2))
    async with Socket(str(token)) as socket:
        await socket.until("hello")
        others = await socket.command("auth", token=await in_thread(token_for, bob))
        assert (others["type"], others["code"]) == ("error", "not_allowed")
        garbage = await socket.command("auth", token="garbage")
        assert (garbage["type"], garbage["code"]) == ("error", "token_invalid")
        fresh = AccessToken(await in_thread(token_for, alice))
        fresh.set_exp(lifetime=timedelta(seconds=3))
        ack = await socket.command("auth", token=str(fresh))
        assert ack["expires_at"] == fresh["exp"]
        # The first token has run out by the time the second one does.
        assert await socket.close_code() == (4001, "token_expired")


async def test_a_revoked_session_closes_its_sockets_and_no_others(
    alice: User, token_for: Token
) -> None:
    revoked = AccessToken(await in_thread(token_for, alice))
    kept = await in_thread(token_for, alice)
    async with Socket(str(revoked)) as first, Socket(kept) as second:
        await first.until("hello")
        await second.until("hello")
        await in_thread(revoke_by_id, alice, revoked["sid"])
        assert await first.close_code() == (4001, "session_revoked")
        assert (await second.command("ping"))["type"] == "pong"


def revoke_by_id(user: User, session_id: str) -> None:
    """Revoke one session."""
    revoke_session(session_id=UUID(session_id), user_id=user.pk)


async def test_a_silent_client_is_pinged_then_closed_4012(
    alice: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HEARTBEAT_GRACE_SECONDS", 0.2)
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.until("ping")
        assert await socket.close_code() == (4012, "no_heartbeat")


async def test_any_frame_answers_the_heartbeat(
    alice: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HEARTBEAT_GRACE_SECONDS", 0.5)
    async with Socket(await in_thread(token_for, alice)) as socket:
        for _ in range(4):
            await socket.until("ping")
            await socket.send(type="pong")
        assert (await socket.command("ping"))["type"] == "pong"


async def test_fifty_sockets_connecting_at_once_hear_each_event_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    sockets = [Socket(token, f"/ws/conversations/{group.pk}/") for _ in range(50)]
    await asyncio.gather(*(socket.__aenter__() for socket in sockets))
    await asyncio.gather(*(socket.until("ack", id="subscribe") for socket in sockets))
    for number in range(5):
        await in_thread(
            send_message,
            user=bob,
            conversation_id=group.pk,
            client_id=str(number),
            content=str(number),
        )
    for socket in sockets:
        told = [(await socket.until("message.created"))["message"]["content"] for _ in range(5)]
        assert told == ["0", "1", "2", "3", "4"]
    await asyncio.gather(*(socket.command("ping") for socket in sockets))
    for socket in sockets:
        assert [f["type"] for f in socket.seen].count("message.created") == 5
    await asyncio.gather(*(socket.__aexit__() for socket in sockets))


async def test_who_reads_only_what_came_after_them_hears_nothing_of_older_messages(
    alice: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    def say(text: str) -> Message:
        return send_message(
            user=alice, conversation_id=group.pk, client_id=text, content=text
        ).message

    await in_thread(change_conversation, user=alice, conversation_id=group.pk, history="joined")
    before = await in_thread(say, "before")
    await in_thread(add_member, user=alice, conversation_id=group.pk, person=charlie.pk)
    async with Socket(await in_thread(token_for, charlie)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(edit_message, user=alice, message_id=before.pk, client_id="e", content="x")
        await in_thread(say, "after")
        heard = await socket.until("message.created")
    assert heard["message"]["content"] == "after"
    assert "message.updated" not in [frame["type"] for frame in socket.seen]
