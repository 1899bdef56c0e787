"""Which frames are taken, how many of them, and what the others get."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from chat.models import Conversation, Message
from core.threads import in_thread
from protocol import limits
from tests.chat.socket.client import Socket, Token, key

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("layer_of_this_loop"),
]


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
