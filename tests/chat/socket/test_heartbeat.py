"""The pulse of a client, by a clock of the test's own."""

import asyncio
import time
from typing import Any

import pytest

from chat.socket.connection import Connection
from chat.socket.heartbeat import Heartbeat

FAR = 1e6  # seconds


class Client:
    """What a client hears, and how it is closed."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message.get("text") or f"{message['code']} {message['reason']}")


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
async def connection(client: Client) -> Any:
    made = Connection(client.send, {})
    made.open()
    yield made
    made.ended()


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_silent_client_is_pinged_after_25_seconds_and_closed_after_10_more(
    client: Client, connection: Connection
) -> None:
    began = time.monotonic()
    heartbeat = Heartbeat(connection, time.time() + FAR)
    ended = time.monotonic()
    heartbeat.ring(began + 24.9)
    await settled()
    assert client.heard == []
    assert began + 25 <= heartbeat.due <= ended + 25
    heartbeat.ring(ended + 25)
    await settled()
    assert client.heard == ['{"type":"ping"}']
    assert heartbeat.due == ended + 35
    heartbeat.ring(ended + 34.9)
    await settled()
    assert len(client.heard) == 1
    heartbeat.ring(ended + 35)
    await settled()
    assert client.heard[1:] == ["4012 no_heartbeat"]


async def test_whoever_answers_a_ping_is_pinged_again_later(
    client: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = Heartbeat(connection, time.time() + FAR)
    now = time.monotonic() + 25
    for pings in range(1, 4):
        heartbeat.ring(now)
        await settled()
        assert client.heard == ['{"type":"ping"}'] * pings
        now += 9
        with monkeypatch.context() as patched:
            patched.setattr(time, "monotonic", lambda now=now: now)
            heartbeat.heard()
        heartbeat.ring(now + 24.9)
        await settled()
        assert len(client.heard) == pings
        now += 25


async def test_a_token_has_25_seconds_of_grace_and_may_be_renewed_meanwhile(
    client: Client, connection: Connection
) -> None:
    now = time.monotonic()
    heartbeat = Heartbeat(connection, time.time() - 20)
    heartbeat.ring(now)
    assert now < heartbeat.due <= now + 5
    heartbeat.renew(time.time() + FAR)
    assert heartbeat.due <= now
    heartbeat.ring(now)
    assert heartbeat.due > now + 5
    heartbeat.renew(time.time() - 25)
    heartbeat.ring(now)
    await settled()
    assert client.heard == ["4001 token_expired"]
