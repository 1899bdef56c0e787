"""From REST to the screen through real processes: a message goes in, a reply comes out, live."""

import asyncio
import contextlib
import json
import statistics
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.acceptance.client import Device, Person, person
from tests.acceptance.stack import Stack
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


async def test_a_browser_a_phone_and_a_second_device_see_a_reply_token_by_token(
    stack: Stack,
) -> None:
    async with (
        person(stack, "alice") as alice,
        alice.device("browser") as browser,
        alice.device("phone") as phone,
        alice.device("query") as second,
    ):
        chat = await alice.open_chat()
        rooms = [await device.follow(chat) for device in (browser, phone, second)]

        sent = await alice.say(chat, f"Tell me {directive(tokens=60, seed=7)}")

        reply_id = sent["reply"]["id"]
        text = expected_text(7, 60)
        for device, room in zip((browser, phone, second), rooms, strict=True):
            reply = await device.finished(chat, reply_id)
            assert reply.status == "complete"
            assert reply.final == text
            assert reply.text == text
            # Token by token: at 50 tokens/s and a flush every 40 ms, far more than a few parts.
            assert reply.deltas > 10
            assert room.faults == []
            assert room.messages[sent["message"]["id"]]["content"].startswith("Tell me")
        stored = await alice.history(chat)
        assert [row["content"] for row in stored[1:]] == [text]
        assert stored[1]["usage"]["estimated"] is False


async def test_a_message_sent_over_the_socket_is_answered_the_same(stack: Stack) -> None:
    async with person(stack) as guest, guest.device("phone") as phone:
        chat = await guest.open_chat()
        room = await phone.follow(chat)

        ack = await phone.command(
            "message.send",
            conversation=chat,
            client_id="from-the-phone",
            content=f"Hello {directive(tokens=30, seed=3)}",
        )

        reply = await phone.finished(chat, ack["reply"]["id"])
        assert reply.text == reply.final == expected_text(3, 30)
        assert room.faults == []


async def test_whoever_comes_in_the_middle_has_the_whole_reply(stack: Stack) -> None:
    async with person(stack) as guest, guest.device() as first:
        chat = await guest.open_chat()
        room = await first.follow(chat)
        sent = await guest.say(chat, f"Go on {directive(tokens=120, seed=11)}")
        reply_id = sent["reply"]["id"]
        async with contextlib.AsyncExitStack() as leaving:
            latecomers: list[Device] = []
            for deltas in (5, 15, 30):
                await first.until(lambda deltas=deltas: room.replies[reply_id].deltas >= deltas)
                coming = guest.device("phone", f"/ws/conversations/{chat}/")
                latecomers.append(await leaving.enter_async_context(coming))

            text = expected_text(11, 120)
            assert (await first.finished(chat, reply_id)).text == text
            for device in latecomers:
                await device.heard("ack", id="subscribe")
                reply = await device.finished(chat, reply_id)
                assert reply.text == reply.final == text
                assert device.rooms[chat].faults == []


async def test_the_first_exchange_gets_a_title_and_a_notification(stack: Stack) -> None:
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        await browser.follow(chat)
        await guest.say(chat, f"Trains {directive(tokens=10, seed=1)}")

        updated = await browser.heard("conversation.updated", conversation=chat)
        assert updated["state"]["title"]
        created = await browser.heard("notification.created")
        assert created["unread"] == 1
        inbox = (await guest.http.get("/api/notifications/")).json()["results"]
        assert [row["action"] for row in inbox] == ["reply.finished"]


async def test_twenty_conversations_at_once_each_receive_exactly_their_reply(
    stack: Stack,
) -> None:
    """And while they stream, posting a message waits for no model."""

    async def converse(number: int, guest: Person, device: Device) -> None:
        chat = await guest.open_chat()
        room = await device.follow(chat)
        sent = await guest.say(chat, f"Go {directive(tokens=150, seed=number)}")
        reply = await device.finished(chat, sent["reply"]["id"])
        assert reply.status == "complete"
        assert reply.text == reply.final == expected_text(number, 150)
        assert room.faults == []

    async def meanwhile(guest: Person, times: list[float]) -> None:
        group = await guest.open_chat(kind="group", title="Meanwhile")
        loop = asyncio.get_running_loop()
        for _ in range(30):
            started = loop.time()
            await guest.say(group, "a message")
            times.append(loop.time() - started)
            await asyncio.sleep(0.05)

    times: list[float] = []
    async with contextlib.AsyncExitStack() as leaving:
        guests = [await leaving.enter_async_context(person(stack)) for _ in range(21)]
        devices = [await leaving.enter_async_context(guest.device()) for guest in guests[1:]]
        await asyncio.gather(
            meanwhile(guests[0], times),
            *(
                converse(number, guest, device)
                for number, (guest, device) in enumerate(zip(guests[1:], devices, strict=True))
            ),
        )
    print(f"POST messages/ while 20 replies stream: median {statistics.median(times):.4f} s")
    assert len(times) == 30


async def test_a_stop_from_another_device_keeps_the_text_so_far(
    stack: Stack, paced_model: RunningServer
) -> None:
    async with person(stack) as guest, guest.device() as browser, guest.device("phone") as phone:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        sent = await guest.say(chat, f"On and on {directive(tokens=5000, seed=5)}")
        reply_id = sent["reply"]["id"]
        await browser.until(lambda: room.replies[reply_id].deltas >= 5)

        answer = await phone.command("reply.stop", message=reply_id)

        assert answer["type"] == "ack"
        reply = await browser.finished(chat, reply_id)
        assert reply.status == "cancelled"
        assert reply.final == reply.text
        assert reply.final
        assert expected_text(5, 5000).startswith(reply.final)
        assert room.faults == []


async def test_a_model_that_fails_ends_the_reply_in_a_stated_status(stack: Stack) -> None:
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        sent = await guest.say(chat, f"Fail {directive(tokens=50, seed=9, fault='cut_after:20')}")

        reply = await browser.finished(chat, sent["reply"]["id"])

        assert reply.status == "failed"
        assert reply.final == reply.text
        assert expected_text(9, 50).startswith(reply.final or "?")
        assert room.messages[sent["reply"]["id"]]["error_code"]
        assert room.faults == []


@pytest.mark.parametrize(("token", "reason"), [("", "token_missing"), ("garbage", "token_invalid")])
async def test_without_a_good_token_the_socket_says_why_and_closes_4001(
    stack: Stack, token: str, reason: str
) -> None:
    async with connect(f"{stack.ws_url}/ws/?token={token}") as socket:
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4001, reason)


async def test_no_process_logs_a_token_or_a_message(stack: Stack) -> None:
    secret = "a-very-private-remark"
    async with person(stack, "dora") as dora, dora.device("query") as device:
        chat = await dora.open_chat()
        await device.follow(chat)
        sent = await dora.say(chat, f"{secret} {directive(tokens=5, seed=2)}")
        await device.finished(chat, sent["reply"]["id"])
        await dora.http.post("/api/auth/token/", json={"login": secret, "password": secret})
        token, refresh = dora.token, dora.refresh

    for process in stack.processes.values():
        log = process.log.read_text()
        assert log
        for hidden in (token, refresh, secret, expected_text(2, 5), "correct-horse-battery"):
            assert hidden not in log, process.name


async def test_logs_are_json_lines_in_production(stack: Stack) -> None:
    async with person(stack) as guest:
        await guest.open_chat()

    lines: list[Any] = []
    for line in stack["web"].log.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    assert any(isinstance(line, dict) and "event" in line for line in lines)
