"""Layers against a real Postgres; nothing here knows Chatire's apps."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from channels_pgnotify import PostgresChannelLayer

# How long a test waits for what it expects before it fails.
DEADLINE = 10.0

Message = dict[str, Any]
MakeLayer = Callable[..., PostgresChannelLayer]


@pytest.fixture
async def leaves_nothing() -> AsyncIterator[None]:
    """Fail if a test and its layers leave a task, a thread or a file descriptor behind."""
    descriptors = _descriptors()
    yield
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert tasks == []
    assert [t for t in threading.enumerate() if t.name.startswith("chatire ")] == []
    assert _descriptors() <= descriptors


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def make_layer(db: None, leaves_nothing: None) -> AsyncIterator[MakeLayer]:
    """`make_layer(**config)`: a layer of its own on the test database, closed after the test."""
    layers: list[PostgresChannelLayer] = []

    def make(**config: Any) -> PostgresChannelLayer:
        layer = PostgresChannelLayer(**config)
        layers.append(layer)
        return layer

    yield make
    for layer in layers:
        await layer.close()


@pytest.fixture
def layer(make_layer: MakeLayer) -> PostgresChannelLayer:
    return make_layer(gap_type="gap")


@pytest.fixture
async def database(layer: PostgresChannelLayer) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to look at the server with."""
    params = layer._database.params("test")
    async with await psycopg.AsyncConnection.connect(autocommit=True, **params) as connection:
        yield connection


async def receive(layer: PostgresChannelLayer, channel: str) -> Message:
    """The channel's next message, or TimeoutError after the deadline."""
    async with asyncio.timeout(DEADLINE):
        return await layer.receive(channel)


async def backends(database: psycopg.AsyncConnection, name: str) -> list[int]:
    """The process ids of the sessions of that application name."""
    cursor = await database.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = %s AND datname = current_database()",
        [name],
    )
    return [row[0] for row in await cursor.fetchall()]


async def until(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds; it is looked at often, and fails after the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def nothing_more(layer: PostgresChannelLayer, channel: str, group: str) -> None:
    """Assert that nothing waits before a message that is sent now."""
    await layer.group_send(group, {"type": "end"})
    assert (await receive(layer, channel))["type"] == "end"
