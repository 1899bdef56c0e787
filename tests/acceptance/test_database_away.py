"""The database away for ten seconds while twenty replies stream: what people see of it."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.client import Device, Person, person
from tests.acceptance.stack import Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

AWAY = 10.0  # seconds
REPLIES = 20
TOKENS = 800  # sixteen seconds of the model's


@contextlib.contextmanager
def away(stack: Stack) -> Iterator[None]:
    """Let nobody reach the stack's database for the length of the block."""
    params = psycopg.conninfo.conninfo_to_dict(stack.env["DATABASE_URL"])
    name = str(params["dbname"])
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(**{**params, "dbname": "postgres"}, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


async def test_web_says_when_to_come_back_sockets_stay_open_and_no_reply_is_lost(
    start_stack: Callable[..., Stack], layer_settings: dict[str, str]
) -> None:
    stack = start_stack()
    async with contextlib.AsyncExitStack() as leaving:
        people: list[tuple[Person, Device, str, str]] = []
        for number in range(REPLIES):
            guest = await leaving.enter_async_context(person(stack))
            device = await leaving.enter_async_context(guest.device())
            chat = await guest.open_chat(title="Storm")
            await device.follow(chat)
            sent = await guest.say(chat, f"Go {directive(tokens=TOKENS, seed=number + 1)}")
            people.append((guest, device, chat, sent["reply"]["id"]))
        for _, device, chat, reply in people:
            await device.until(lambda d=device, c=chat, r=reply: d.rooms[c].replies[r].deltas >= 3)
            assert device.rooms[chat].replies[reply].final is None

        with away(stack):
            began = time.monotonic()
            refused = 0
            while time.monotonic() - began < AWAY:
                for guest, device, chat, _ in people[:3]:
                    body = {"client_id": f"meanwhile-{refused}", "content": "Hello?"}
                    path = f"/api/conversations/{chat}/"
                    for answer in (
                        await guest.http.get(path),
                        await guest.http.post(f"{path}messages/", json=body),
                    ):
                        assert answer.status_code == 503, answer.text
                        assert answer.json()["code"] == "unavailable"
                        assert int(answer.headers["Retry-After"]) > 0
                        refused += 1
                    error = await device.command("subscribe", conversation=chat, since=None)
                    assert (error["type"], error["code"]) == ("error", "unavailable")
                await asyncio.sleep(0.5)
            assert [device.close_code for _, device, _, _ in people] == [None] * REPLIES

        for number, (guest, device, chat, reply) in enumerate(people):
            if not layer_settings:
                # The layer was away with its database.
                await device.heard("resync")
            await device.follow(chat)
            done = await device.finished(chat, reply)
            assert (done.status, done.attempt) == ("complete", 1)
            assert done.final == expected_text(number + 1, TOKENS)
            stored = await guest.history(chat)
            # Nothing of what was refused, and nothing twice.
            assert [row["content"] for row in stored[1:]] == [done.final]
        assert [device.close_code for _, device, _, _ in people] == [None] * REPLIES
