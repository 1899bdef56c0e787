"""The Redis layer: the face of our own, and no gap that nobody is told of."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.testing import ApplicationCommunicator
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import channel_layers
from django.conf import LazySettings

from channels_pgnotify import ListenError, MessageTooLarge, PublishError, PushMixin
from chatire.stack.ports import free_port
from core.publishing import Publication, publish_now, publish_now_async
from core.redis_layer import RedisChannelLayer, host, missed, subscription
from tests.fakes.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

GAP = {"type": "layer.gap"}
DEADLINE = 20.0  # seconds


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RedisServer]]:
    """Two, so that groups are spread over both."""
    with RedisServer() as one, RedisServer() as other:
        yield [one, other]


Telling = Callable[[], Awaitable[None]]


@pytest_asyncio.fixture
async def telling(monkeypatch: pytest.MonkeyPatch) -> Telling:
    """Nobody tells what they could not publish until `await telling()`, which returns once told."""
    may_tell, told, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(missed, "backoff", lambda *_, **__: 0.0 * may_tell.wait(DEADLINE))
    monkeypatch.setattr(missed.logger, "info", lambda *_, **__: loop.call_soon_threadsafe(told.set))

    async def tell() -> None:
        may_tell.set()
        await asyncio.wait_for(told.wait(), DEADLINE)

    return tell


@pytest_asyncio.fixture
async def layer(servers: list[RedisServer]) -> AsyncIterator[RedisChannelLayer]:
    async with a_layer(*servers) as layer:
        yield layer


@contextlib.asynccontextmanager
async def a_layer(*servers: RedisServer, **options: Any) -> AsyncIterator[RedisChannelLayer]:
    """A layer such as a process has."""
    options = {"gap_type": "layer.gap", "capacity": 2000, **options}
    layer = RedisChannelLayer(hosts=[server.url for server in servers], **options)
    try:
        yield layer
    finally:
        await layer.close()


async def member_of(layer: RedisChannelLayer, *groups: str) -> str:
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    return channel


async def heard(layer: RedisChannelLayer, channel: str, count: int = 1) -> list[dict[str, Any]]:
    """The next messages for a channel."""
    async with asyncio.timeout(DEADLINE):
        return [await layer.receive(channel) for _ in range(count)]


def both_ways(layer: RedisChannelLayer) -> list[Callable[..., Awaitable[None]]]:
    """How to send to a group: from the loop and from a thread."""
    return [layer.group_send, partial(asyncio.to_thread, layer.group_send_sync)]


def numbered(group: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    return [(group, {"type": "push", "n": number}) for number in range(count)]


# Half of them on each of two servers.
GROUPS = [f"{number}.group" for number in range(8)]


def test_what_it_can_do_is_known_without_an_event_loop() -> None:
    layer = RedisChannelLayer()
    assert callable(layer.group_send_many_sync)
    assert not hasattr(layer, "no_such_thing")


async def test_a_batch_from_a_thread_reaches_each_group_in_order(layer: RedisChannelLayer) -> None:
    channels = {group: await member_of(layer, group) for group in GROUPS}
    items = [item for group in GROUPS for item in numbered(group, 20)]
    await asyncio.to_thread(layer.group_send_many_sync, items)
    for channel in channels.values():
        assert [one["n"] for one in await heard(layer, channel, 20)] == list(range(20))


async def test_sends_that_share_a_batch_keep_their_order(layer: RedisChannelLayer) -> None:
    channel = await member_of(layer, "group")
    await asyncio.gather(*(layer.group_send(*item) for item in numbered("group", 200)))
    assert [one["n"] for one in await heard(layer, channel, 200)] == list(range(200))


@pytest.mark.parametrize("publish", [publish_now_async, publish_now])
async def test_a_batch_takes_no_round_trip_for_each_message(
    servers: list[RedisServer], settings: LazySettings, publish: Any
) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "core.redis_layer.RedisChannelLayer",
            "CONFIG": {"hosts": [servers[0].url], "capacity": 2000},
        }
    }
    async with a_layer(servers[0]) as layer:
        channel = await member_of(layer, "room")
        # The first has to connect.
        for batch in (1, 1000):
            before = servers[0].reads()
            sent = [Publication("room", {"type": "push", "n": n}) for n in range(batch)]
            if publish is publish_now:
                await asyncio.to_thread(publish, *sent)
            else:
                await publish(*sent)
            assert [one["n"] for one in await heard(layer, channel, batch)] == list(range(batch))
        assert servers[0].reads() - before < 100
        from channels.layers import get_channel_layer

        await get_channel_layer().close()


async def test_whoever_has_joined_hears_what_is_sent_from_then_on(
    layer: RedisChannelLayer, servers: list[RedisServer]
) -> None:
    async with a_layer(*servers) as other:
        channel = await layer.new_channel()
        for number in range(100):
            await layer.group_add(f"joined.{number}", channel)
            await asyncio.to_thread(
                other.group_send_sync, f"joined.{number}", {"type": "push", "n": number}
            )
        # Two servers have no order between them.
        assert sorted(one["n"] for one in await heard(layer, channel, 100)) == list(range(100))


async def test_who_left_hears_no_more_and_may_come_back(servers: list[RedisServer]) -> None:
    async with a_layer(servers[0], heartbeat=0.1) as layer:
        channel, witness = await member_of(layer, "room"), await member_of(layer, "other")
        await layer.group_discard("room", channel)
        async with asyncio.timeout(DEADLINE):
            while servers[0].ask("PUBSUB", "NUMSUB", "asgi__group__room") != [
                b"asgi__group__room",
                0,
            ]:
                await layer.group_send("other", {"type": "push"})
                await heard(layer, witness)
        await layer.group_send("room", {"type": "push", "n": 1})
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "push", "n": 2})
        assert [one["n"] for one in await heard(layer, channel)] == [2]


async def test_a_message_goes_to_one_channel_of_another_process(
    layer: RedisChannelLayer, servers: list[RedisServer]
) -> None:
    async with a_layer(*servers) as other:
        addressee, bystander = await layer.new_channel(), await layer.new_channel()
        await other.send(addressee, {"type": "push", "n": 1})
        await other.send(bystander, {"type": "push", "n": 2})
        assert await heard(layer, addressee) == [{"type": "push", "n": 1}]
        assert await heard(layer, bystander) == [{"type": "push", "n": 2}]


async def test_a_restarted_server_is_a_gap_that_comes_before_what_follows(
    layer: RedisChannelLayer, servers: list[RedisServer]
) -> None:
    channels = [await member_of(layer, *GROUPS) for _ in range(3)]
    servers[0].kill()
    servers[0].start()
    for channel in channels:
        assert await heard(layer, channel) == [GAP]
    await layer.group_send_many([(group, {"type": "push"}) for group in GROUPS])
    for channel in channels:
        assert await heard(layer, channel, len(GROUPS)) == [{"type": "push"}] * len(GROUPS)


async def test_a_cut_connection_is_a_gap(
    layer: RedisChannelLayer, servers: list[RedisServer]
) -> None:
    channel = await member_of(layer, *GROUPS)
    assert servers[0].ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
    assert await heard(layer, channel) == [GAP]


async def test_a_channel_made_while_the_server_is_away_cannot_join_and_has_a_gap_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "SUBSCRIBE_SECONDS", 0.2)
    server = RedisServer()
    async with a_layer(server) as layer:
        for group in ("room", "hall"):
            # At first it was never there, then it is gone.
            channel = await layer.new_channel()
            with pytest.raises(ListenError, match=server.name):
                await layer.group_add(group, channel)
            with server:
                assert await heard(layer, channel) == [GAP]
                await layer.group_add(group, channel)
                await layer.group_send(group, {"type": "push"})
                assert await heard(layer, channel) == [{"type": "push"}]


async def test_a_connection_that_falls_silent_is_replaced(
    servers: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed = asyncio.Event()
    monkeypatch.setattr(subscription.logger, "warning", lambda *_, **__: noticed.set())
    async with a_layer(servers[0], heartbeat=0.2) as layer:
        channel = await member_of(layer, "room")
        servers[0].freeze()
        try:
            await asyncio.wait_for(noticed.wait(), DEADLINE)
        finally:
            servers[0].thaw()
        assert await heard(layer, channel) == [GAP]


async def test_what_was_not_taken_is_an_error_without_the_message(
    servers: list[RedisServer],
) -> None:
    async with a_layer(*servers) as layer:
        await layer.check()
        channel = await member_of(layer, *GROUPS)
        servers[1].kill()
        try:
            items = [(group, {"type": "push", "frame": "secret text"}) for group in GROUPS]
            with pytest.raises(PublishError) as from_loop:
                await layer.group_send_many(items)
            with pytest.raises(PublishError) as from_thread:
                await asyncio.to_thread(layer.group_send_many_sync, items)
        finally:
            servers[1].start()
        for error in (str(from_loop.value), str(from_thread.value)):
            assert servers[1].name in error
            assert "secret" not in error
            assert servers[1].password not in error
        # The other server's share was taken, both times.
        mine = sum(layer.index_of(f"asgi__group__{group}") == 0 for group in GROUPS)
        assert 0 < mine < len(GROUPS)
        assert await heard(layer, channel, 2 * mine) == [dict(items[0][1])] * 2 * mine


async def test_a_refused_message_is_an_error_without_its_text(servers: list[RedisServer]) -> None:
    refused = "no-such-password"
    hosts = [servers[0].url.replace(servers[0].password, refused)]
    layer = RedisChannelLayer(hosts=hosts)
    for send in both_ways(layer):
        with pytest.raises(PublishError) as error:
            await send("room", {"type": "push", "frame": "secret text"})
        assert "secret" not in str(error.value)
        assert refused not in str(error.value)
    await layer.close()


async def test_what_another_process_could_not_publish_is_a_gap_for_its_groups_alone(
    servers: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PUBLISH_SECONDS", 0.3)
    async with a_layer(servers[0]) as layer, a_layer(servers[0]) as other:
        concerned, bystander = await member_of(layer, "room"), await member_of(layer, "hall")
        for send in (
            other.group_send,
            lambda *item: asyncio.to_thread(other.group_send_sync, *item),
        ):
            # Whoever is subscribed notices nothing of it.
            servers[0].ask("CLIENT", "PAUSE", "60000", "WRITE")
            try:
                with pytest.raises(PublishError):
                    await send("room", {"type": "push"})
            finally:
                servers[0].ask("CLIENT", "UNPAUSE")
            assert await heard(layer, concerned) == [GAP]
            await layer.group_send("hall", {"type": "push"})
            assert await heard(layer, bystander) == [{"type": "push"}]


async def test_nobody_waits_for_a_server_that_is_known_to_be_away(
    servers: list[RedisServer], monkeypatch: pytest.MonkeyPatch, telling: Telling
) -> None:
    monkeypatch.setattr(host, "PUBLISH_SECONDS", 0.3)
    async with a_layer(servers[0]) as layer:
        channel = await member_of(layer, "room", "hall")
        servers[0].ask("CLIENT", "PAUSE", "60000", "WRITE")
        try:
            with pytest.raises(PublishError, match="did not take"):
                await layer.group_send("hall", {"type": "push"})
            for send in (
                layer.group_send,
                lambda *item: asyncio.to_thread(layer.group_send_sync, *item),
            ):
                with pytest.raises(PublishError, match="is away"):
                    await send("room", {"type": "push"})
        finally:
            servers[0].ask("CLIENT", "UNPAUSE")
        await telling()
        assert await heard(layer, channel) == [GAP]
        await layer.group_send("room", {"type": "push"})
        assert await heard(layer, channel) == [{"type": "push"}]


async def test_a_gap_that_everyone_had_since_is_not_told_again(
    servers: list[RedisServer], telling: Telling
) -> None:
    async with a_layer(servers[0]) as layer, a_layer(servers[0]) as other:
        channel = await member_of(layer, "room")
        servers[0].kill()
        try:
            with pytest.raises(PublishError):
                await asyncio.to_thread(other.group_send_sync, "room", {"type": "push"})
        finally:
            servers[0].start()
        assert await heard(layer, channel) == [GAP]
        await telling()
        await other.group_send("room", {"type": "push"})
        assert await heard(layer, channel) == [{"type": "push"}]


async def test_a_slow_reader_is_told_of_its_gap_and_no_other(servers: list[RedisServer]) -> None:
    async with a_layer(servers[0], capacity=3) as layer:
        slow, quick = await member_of(layer, "room"), await member_of(layer, "room")
        for item in numbered("room", 5):
            await layer.group_send(*item)
            assert await heard(layer, quick) == [item[1]]
        assert [one.get("n", one) for one in await heard(layer, slow, 4)] == [0, 1, 2, GAP]
        await layer.group_send("room", {"type": "push", "n": 9})
        assert (await heard(layer, slow))[0]["n"] == 9


class Taker:
    """Takes every message as long as it is `ready`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.ready = True
        self.looked, self.took = asyncio.Event(), asyncio.Event()

    def take(self, message: dict[str, Any]) -> bool:
        if self.ready:
            self.taken.append(message)
            self.took.set()
        return self.ready

    def look(self) -> None:
        self.looked.set()

    async def until_taken(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while not self.taken or self.taken[-1]["n"] != number:
                self.took.clear()
                await self.took.wait()


async def taking(layer: RedisChannelLayer, group: str) -> tuple[str, Taker]:
    """A member of the group, and who takes what arrives for it."""
    channel, taker = await member_of(layer, group), Taker()
    layer.deliver_to(channel, taker)
    return channel, taker


async def test_takers_get_one_and_the_same_message_in_order(layer: RedisChannelLayer) -> None:
    takers = [(await taking(layer, "room"))[1] for _ in range(3)]
    await layer.group_send_many(numbered("room", 20))
    await asyncio.to_thread(layer.group_send_sync, "room", {"type": "push", "n": 20})
    for taker in takers:
        await taker.until_taken(20)
        assert [message["n"] for message in taker.taken] == list(range(21))
    for one, *others in zip(*(taker.taken for taker in takers), strict=True):
        assert all(other is one for other in others)


async def test_what_a_taker_refuses_waits_and_nothing_overtakes_it(
    layer: RedisChannelLayer,
) -> None:
    channel, taker = await taking(layer, "room")
    witness = await member_of(layer, "room")
    taker.ready = False
    await layer.group_send("room", {"type": "push", "n": 0})
    await heard(layer, witness)
    taker.ready = True
    await layer.group_send("room", {"type": "push", "n": 1})
    await heard(layer, witness)
    assert (taker.looked.is_set(), taker.taken) == (True, [])
    assert [layer.receive_nowait(channel) for _ in range(3)] == [
        *(message for _, message in numbered("room", 2)),
        None,
    ]
    await layer.group_send("room", {"type": "push", "n": 2})
    await taker.until_taken(2)


async def test_what_waited_before_there_was_a_taker_is_there_to_be_looked_at(
    layer: RedisChannelLayer,
) -> None:
    channel, taker = await layer.new_channel(), Taker()
    await layer.send(channel, {"type": "push", "n": 1})
    layer.deliver_to(channel, taker)
    assert (taker.looked.is_set(), taker.taken) == (True, [])
    assert layer.receive_nowait(channel) == {"type": "push", "n": 1}
    assert layer.receive_nowait(channel) is None
    layer.close_channel(channel)
    assert layer.receive_nowait(channel) is None


async def test_a_gap_reaches_a_taker_before_what_follows(servers: list[RedisServer]) -> None:
    async with a_layer(servers[0]) as layer:
        channel, taker = await taking(layer, "room")
        assert servers[0].ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
        await asyncio.wait_for(taker.looked.wait(), DEADLINE)
        assert layer.receive_nowait(channel) == GAP
        await layer.group_send("room", {"type": "push", "n": 1})
        await taker.until_taken(1)


@pytest.mark.parametrize("gap_type", ["layer.gap", None])
async def test_a_taker_that_left_too_much_waiting_has_a_gap_behind_it(
    servers: list[RedisServer], gap_type: str | None
) -> None:
    async with a_layer(servers[0], gap_type=gap_type, capacity=1) as layer:
        channel, taker = await taking(layer, "room")
        witness = await member_of(layer, "room")
        taker.ready = False
        for item in numbered("room", 2):
            await layer.group_send(*item)
            await heard(layer, witness)
        taker.ready = True
        waiting = list(iter(lambda: layer.receive_nowait(channel), None))
        assert waiting == [{"type": "push", "n": 0}, *([GAP] if gap_type else [])]
        await layer.group_send("room", {"type": "push", "n": 2})
        await taker.until_taken(2)


async def test_a_channel_with_a_taker_is_not_forgotten(servers: list[RedisServer]) -> None:
    async with a_layer(servers[0], heartbeat=10, expiry=20) as layer:
        unread, (taken, _) = await layer.new_channel(), await taking(layer, "room")
        await layer.group_discard("room", taken)
        part = layer._here()
        for _ in range(4):
            assert set(part.mailboxes) == {unread, taken}
            part._sweep()
        assert set(part.mailboxes) == {taken}


class Straight(PushMixin, AsyncWebsocketConsumer):  # type: ignore[misc]
    """Takes frames at once."""

    groups = ["room"]
    taker: Taker

    def push(self, message: dict[str, Any]) -> bool:
        return self.taker.take(message)


async def test_a_consumer_takes_frames_without_a_task_for_each(
    layer: RedisChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(channel_layers.backends, "default", layer)
    Straight.taker = taker = Taker()
    sockets = [
        ApplicationCommunicator(Straight.as_asgi(), {"type": "websocket", "path": "/"})
        for _ in range(3)
    ]
    for socket_ in sockets:
        await socket_.send_input({"type": "websocket.connect"})
        assert (await socket_.receive_output(DEADLINE))["type"] == "websocket.accept"
    before = asyncio.all_tasks()
    items = numbered("room", 2)
    await asyncio.to_thread(layer.group_send_many_sync, items)
    await taker.until_taken(1)
    assert [message["n"] for message in taker.taken] == [0] * 3 + [1] * 3
    assert len({id(message) for message in taker.taken}) == 2
    assert asyncio.all_tasks() <= before
    for socket_ in sockets:
        await socket_.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket_.wait(DEADLINE)
    assert not layer._here().mailboxes


async def test_a_message_that_is_too_large_is_refused(layer: RedisChannelLayer) -> None:
    with pytest.raises(MessageTooLarge):
        await layer.group_send("room", {"type": "push", "frame": "x" * 2_000_000})


async def test_a_check_names_the_server_that_does_not_answer(servers: list[RedisServer]) -> None:
    async with a_layer(*servers) as layer:
        await layer.check()
        await layer.close()
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            gone = RedisChannelLayer(
                hosts=[servers[0].url, f"redis://:pass-word@127.0.0.1:{closed.getsockname()[1]}/0"]
            )
            with pytest.raises((PublishError, ListenError)) as error:
                await gone.check()
            await gone.close()
    assert gone.hosts[1].name in str(error.value)
    assert "pass-word" not in str(error.value)


async def test_sentinels_lead_to_their_master_and_after_a_failover_to_the_next(
    tmp_path: Path,
) -> None:
    config = tmp_path / "sentinel.conf"
    folder = ("--dir", str(tmp_path))
    master = RedisServer("--repl-diskless-sync-delay", "0", *folder)
    replica = RedisServer(*folder, "--replicaof", f"127.0.0.1 {master.port}")
    for server in (master, replica):
        server.password = master.password
        server.url = f"redis://:{server.password}@{server.name}/0"
        server._options += ("--masterauth", master.password)
    config.write_text(
        f"sentinel monitor chat 127.0.0.1 {master.port} 1\n"
        f"sentinel auth-pass chat {master.password}\n"
        "sentinel down-after-milliseconds chat 500\n"
    )
    sentinel = RedisServer("--sentinel", config=config)
    with master, replica:
        # Returns once a replica follows.
        assert await asyncio.to_thread(master.ask, "WAIT", "1", "15000") == 1
        with sentinel:
            layer = RedisChannelLayer(
                hosts=[
                    {
                        "master_name": "chat",
                        # The first of them is away.
                        "sentinels": [("127.0.0.1", free_port()), ("127.0.0.1", sentinel.port)],
                        "password": master.password,
                        "sentinel_kwargs": {"password": sentinel.password},
                    }
                ],
                gap_type="layer.gap",
            )
            await layer.check()
            channel = await member_of(layer, "room")
            async with asyncio.timeout(DEADLINE):
                while not await asyncio.to_thread(sentinel.ask, "SENTINEL", "REPLICAS", "chat"):
                    pass
            master.kill()
            async with asyncio.timeout(40):
                assert await layer.receive(channel) == GAP
            await asyncio.to_thread(layer.group_send_sync, "room", {"type": "push", "n": 1})
            assert await heard(layer, channel) == [{"type": "push", "n": 1}]
            await layer.close()
