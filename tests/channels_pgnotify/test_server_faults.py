"""What goes wrong with the server and the network, on a PostgreSQL of the tests' own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from channels.exceptions import ChannelFull
from psycopg.conninfo import conninfo_to_dict

from channels_pgnotify import NotifyQueueFull, PostgresChannelLayer, PublishError
from chatire.stack.postgres import EmbeddedPostgres

from .conftest import DEADLINE, MakeLayer, Message, receive, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that may be stopped and spoilt."""
    folder: Path = tmp_path_factory.mktemp("server")
    postgres = EmbeddedPostgres(folder, durable=False)
    postgres.start()
    yield postgres
    postgres.destroy()


def _config(server: EmbeddedPostgres, **changes: Any) -> dict[str, Any]:
    parts = conninfo_to_dict(server.url)
    return {
        "NAME": parts["dbname"],
        "USER": parts["user"],
        "PASSWORD": parts["password"],
        "HOST": parts["host"],
        "PORT": parts["port"],
        **changes,
    }


# server.restart() must run in the main thread, though it blocks the loop: the server is told to end
# with the thread that started it.
def _stop(server: EmbeddedPostgres) -> None:
    assert server.process is not None
    server.process.terminate()
    assert server.process.wait(30)


async def _joined(layer: PostgresChannelLayer) -> str:
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    return channel


async def _numbers_until(layer: PostgresChannelLayer, channel: str, last: int) -> list[Message]:
    """Everything up to the message of that number."""
    heard: list[Message] = []
    while not heard or heard[-1].get("n") != last:
        heard.append(await receive(layer, channel))
    return heard


async def test_a_restarted_server_costs_a_gap_and_no_message_published_since(
    server: EmbeddedPostgres, make_layer: MakeLayer
) -> None:
    layer = make_layer(gap_type="gap", **_config(server))
    channel = await _joined(layer)
    await layer.group_send("room", {"type": "n", "n": 0})
    assert (await receive(layer, channel))["n"] == 0

    await asyncio.to_thread(_stop, server)
    # Published while it is down: they wait for it.
    sending = [
        asyncio.create_task(layer.group_send("room", {"type": "n", "n": n})) for n in (1, 2, 3)
    ]
    server.restart()
    await asyncio.gather(*sending)
    # Accepted before this process listened again, they may be what the gap stands for.
    while (await receive(layer, channel)) != {"type": "gap"}:
        pass
    await layer.group_send("room", {"type": "n", "n": 4})
    heard = [message["n"] for message in await _numbers_until(layer, channel, 4)]
    assert heard == sorted(set(heard))


async def test_a_server_that_stays_away_fails_the_sender_in_bounded_time(
    server: EmbeddedPostgres, make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels_pgnotify.publisher.PUBLISH_SECONDS", 0.5)
    layer = make_layer(**_config(server))
    await asyncio.to_thread(_stop, server)
    try:
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(PublishError, match="cannot be reached"):
                await layer.group_send("room", {"type": "n"})
    finally:
        server.restart()
    await layer.group_send("room", {"type": "n"})


class Proxy:
    """Passes connections on to the server, until it is told to hold everything back."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stall(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, far_writer))
                    group.create_task(self._pass(far_reader, writer))
            finally:
                far_writer.close()
                writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._open.wait()
            writer.write(data)
        writer.close()


@pytest.fixture
async def proxy(server: EmbeddedPostgres, leaves_nothing: None) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as proxy:
        yield proxy


async def test_a_network_that_stalls_is_noticed_though_no_connection_breaks(
    server: EmbeddedPostgres, proxy: Proxy, make_layer: MakeLayer
) -> None:
    near = make_layer(gap_type="gap", heartbeat=0.2, **_config(server, PORT=str(proxy.port)))
    far = make_layer(**_config(server))
    channel = await _joined(near)
    await far.group_send("room", {"type": "n", "n": 0})
    assert (await receive(near, channel))["n"] == 0

    lost = near._listener()._conn
    proxy.stall()
    await far.group_send("room", {"type": "n", "n": 1})
    await until(lambda: near._listener()._conn is not lost)
    proxy.resume()
    assert await receive(near, channel) == {"type": "gap"}
    await far.group_send("room", {"type": "n", "n": 2})
    assert await _numbers_until(near, channel, 2) == [{"type": "n", "n": 2}]
    await near.group_send("room", {"type": "n", "n": 3})
    assert (await receive(near, channel))["n"] == 3


async def test_a_full_notification_queue_is_a_clear_error_and_passes(
    server: EmbeddedPostgres, make_layer: MakeLayer
) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_notify_queue_pages = 64")
    await asyncio.to_thread(_stop, server)
    server.restart()
    layer = make_layer(gap_type="gap", capacity=10_000, **_config(server))
    channel = await _joined(layer)
    with psycopg.connect(server.url) as sleeper:
        # It listens, and the transaction it never ends keeps it from reading.
        sleeper.execute("LISTEN something")
        sleeper.commit()
        sleeper.execute("SELECT 1")
        accepted = 0

        async def fill() -> None:
            nonlocal accepted
            for n in range(2_000):
                await layer.group_send("room", {"type": "n", "n": n, "text": "x" * 5_000})
                accepted += 1

        with pytest.raises(NotifyQueueFull) as caught:
            await fill()
        assert isinstance(caught.value, ChannelFull)
        assert accepted > 10
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(NotifyQueueFull):
                await layer.group_send("room", {"type": "n", "n": -1})
                break
            # The sleeper's session has not quite ended.
            await asyncio.sleep(0.05)
    heard = await _numbers_until(layer, channel, -1)
    numbers = [message["n"] for message in heard if message["type"] == "n"]
    assert numbers == [*range(accepted), -1]
    # What was refused had a number too, so that its loss does not go unnoticed.
    assert heard[-2] == {"type": "gap"}
