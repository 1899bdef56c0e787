"""One of two socket servers ends: those who come back to the other were never away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatire.stack.ports import free_port
from tests.acceptance.client import Device, Person, person
from tests.acceptance.stack import Process, Stack

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@contextlib.asynccontextmanager
async def second_server(stack: Stack, logs: Path) -> AsyncIterator[tuple[Process, str]]:
    """Another `ws` of a stack, and its address."""
    port = free_port()
    env = {**stack.env, "WS_PORT": str(port), "WS_DRAIN_SECONDS": "0.5"}
    server = Process(
        "ws2", stack.commands["ws"], env, f"http://127.0.0.1:{port}/health/", logs / "ws2.log"
    )
    try:
        server.start()
        await asyncio.to_thread(server.wait_healthy)
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        server.kill()


class At:
    """A server of the stack, by the address of its sockets."""

    def __init__(self, stack: Stack, ws_url: str) -> None:
        self.url = stack.url
        self.ws_url = ws_url


def told(device: Device, who: Person) -> list[str]:
    """What a device was told of somebody."""
    return [
        state["presence"]
        for frame in device.frames
        if frame["type"] == "presence"
        for state in frame["people"]
        if state["user"] == who.user["id"]
    ]


@pytest.mark.parametrize("graceful", [False, True])
async def test_whoever_comes_back_to_the_other_server_never_looked_away(
    stack: Stack, tmp_path: Path, graceful: bool
) -> None:
    async with (
        person(stack, "watcher") as watcher,
        person(stack, "alice") as alice,
        person(stack, "bob") as bob,
        watcher.device() as device,
    ):
        await device.command("presence.watch", people=[alice.user["id"], bob.user["id"]])
        async with second_server(stack, tmp_path) as (server, address):
            for one in (alice, bob):
                one.stack = At(stack, address)
                connection = await one.connect()
                await connection.command("presence", active=True)
            await device.until(lambda: told(device, alice)[-1:] == ["active"])
            await device.until(lambda: told(device, bob)[-1:] == ["active"])
            before = len(told(device, alice))
            await asyncio.to_thread(server.stop if graceful else server.kill)
        alice.stack = stack
        async with alice.device() as back:
            await back.command("presence", active=True)
            # Bob does not come back, so that one sees when the server is forgotten.
            await device.until(lambda: told(device, bob)[-1:] == ["offline"])
            assert told(device, alice)[before:] == []
