"""Live events over Redis: the same to everyone, also while Redis is away."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.client import Device, person
from tests.acceptance.stack import Stack
from tests.fakes.redis_server import MISSING, PROGRAM, RedisServer
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(240),
    pytest.mark.skipif(PROGRAM is None, reason=MISSING),
]

AWAY = 2.0  # seconds


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis of this file's own, to be killed."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], server: RedisServer) -> Stack:
    """A stack that this file's tests share."""
    return start_stack(CHANNEL_LAYER_URL=server.url)


async def test_two_devices_see_a_reply_token_by_token_and_are_notified(stack: Stack) -> None:
    async with person(stack) as guest, guest.device() as browser, guest.device("phone") as phone:
        chat = await guest.open_chat()
        rooms = [await device.follow(chat) for device in (browser, phone)]
        sent = await guest.say(chat, f"Trains {directive(tokens=60, seed=31)}")
        for device, room in zip((browser, phone), rooms, strict=True):
            reply = await device.finished(chat, sent["reply"]["id"])
            assert reply.text == reply.final == expected_text(31, 60)
            assert reply.deltas > 10
            assert room.faults == []
            assert (await device.heard("notification.created"))["unread"] == 1


async def test_an_open_socket_is_closed_when_its_session_is_revoked(stack: Stack) -> None:
    async with person(stack) as guest:
        device = await guest.connect()
        await device.heard("hello")
        answer = await guest.http.post("/api/auth/token/revoke/", json={"refresh": guest.refresh})
        assert answer.status_code in (200, 204), answer.text
        await device.until(lambda: device.close_code is not None)
        assert device.close_code == 4001


async def test_redis_away_in_the_middle_of_a_reply_is_a_resync_and_no_loss(
    stack: Stack, server: RedisServer
) -> None:
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        sent = await guest.say(chat, f"Go {directive(tokens=400, seed=32)}")
        reply_id = sent["reply"]["id"]
        await browser.until(lambda: room.replies[reply_id].deltas >= 10)

        server.kill()
        # What is stored meanwhile is answered as ever.
        said = await guest.say(chat, "Are you still there?", assistant=None)
        await asyncio.sleep(AWAY)
        assert room.replies[reply_id].final is None
        await asyncio.to_thread(server.start)

        # More than one may come: subscribers and publishers are back at different times.
        asking = asyncio.create_task(ask_at_each_resync(browser, chat))
        await browser.until(lambda: said["message"]["id"] in room.messages)
        # It goes on live: text comes before the end does.
        deltas = room.replies[reply_id].deltas
        await browser.until(lambda: room.replies[reply_id].deltas > deltas)
        reply = await browser.finished(chat, reply_id)
        asking.cancel()
        assert browser.close_code is None
        assert reply.text == reply.final == expected_text(32, 400)
        assert (reply.status, reply.attempt) == ("complete", 1)
    logs = [process.log.read_text(errors="replace") for process in stack.processes.values()]
    assert any("redis_subscription_lost" in log for log in logs)
    assert not any(server.password in log for log in logs)


def resyncs(device: Device) -> int:
    """How often it was told to ask again."""
    return sum(frame["type"] == "resync" for frame in device.frames)


async def ask_at_each_resync(device: Device, chat: str) -> None:
    """Do what a client does, for ever."""
    asked = 0
    while True:
        await device.until(lambda asked=asked: resyncs(device) > asked)
        asked = resyncs(device)
        await device.follow(chat)


async def test_the_doctor_finds_nothing_wrong_and_names_the_server(
    stack: Stack, server: RedisServer
) -> None:
    said = await asyncio.to_thread(stack.manage, "doctor")
    assert f"channel layer: Redis at {server.name}" in said
    assert "PROBLEM" not in said
    assert server.password not in said
