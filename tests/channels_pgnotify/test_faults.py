"""What goes wrong between the layer and Postgres."""

import logging

import psycopg
import pytest

from channels_pgnotify import ListenError, PostgresChannelLayer
from channels_pgnotify.codec import Entry, Stream

from .conftest import MakeLayer, backends, nothing_more, receive, until


async def _join(layer: PostgresChannelLayer, group: str = "room") -> str:
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


async def _terminate(database: psycopg.AsyncConnection, name: str) -> None:
    pids = await backends(database, name)
    assert pids
    for pid in pids:
        await database.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def test_a_terminated_listener_signals_a_gap_to_every_channel_and_listens_again(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channels = [await _join(layer), await _join(layer, "elsewhere"), await layer.new_channel()]
    await _terminate(database, "chatire listen")
    for channel in channels:
        assert await receive(layer, channel) == {"type": "gap"}
    await nothing_more(layer, channels[0], "room")


async def test_a_group_joined_while_the_connection_is_down_is_heard(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    await layer.new_channel()
    await _terminate(database, "chatire listen")
    channel = await _join(layer)
    await layer.group_send("room", {"type": "hello"})
    while (message := await receive(layer, channel)) == {"type": "gap"}:
        pass
    assert message == {"type": "hello"}


async def test_a_terminated_publisher_sends_again_and_nothing_arrives_twice(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    for n in range(5):
        await layer.group_send("room", {"type": "n", "n": n})
        await _terminate(database, "chatire publish")
    assert [(await receive(layer, channel))["n"] for _ in range(5)] == list(range(5))
    await nothing_more(layer, channel, "room")


async def test_a_repeated_notification_is_delivered_once(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    stream, shard = Stream(), layer._shard("room")
    for n in range(3):
        entry = Entry(shard, "room", layer.serialize({"type": "n", "n": n}))
        ((pg_channel,), (payload,)) = stream.encode([entry])
        for _ in range(2):
            await database.execute("SELECT pg_notify(%s, %s)", [pg_channel, payload.decode()])
    assert [(await receive(layer, channel))["n"] for _ in range(3)] == [0, 1, 2]
    await nothing_more(layer, channel, "room")


async def test_a_lost_notification_is_noticed_by_the_next(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    stream, shard = Stream(), layer._shard("room")
    for n in range(4):
        entry = Entry(shard, "room", layer.serialize({"type": "n", "n": n}))
        ((pg_channel,), (payload,)) = stream.encode([entry])
        if n != 2:
            await database.execute("SELECT pg_notify(%s, %s)", [pg_channel, payload.decode()])
    heard = [await receive(layer, channel) for _ in range(4)]
    assert heard == [
        {"type": "n", "n": 0},
        {"type": "n", "n": 1},
        {"type": "gap"},
        {"type": "n", "n": 3},
    ]


async def test_a_lost_last_notification_is_noticed_by_the_tip(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    await layer.group_send("room", {"type": "hello"})
    assert await receive(layer, channel) == {"type": "hello"}
    # As if the next one had been sent and had not come.
    layer._publisher._stream._last[layer._shard("room")] += 1
    assert await receive(layer, channel) == {"type": "gap"}


async def test_a_message_with_a_lost_part_is_dropped_and_signalled(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    body = layer.serialize({"type": "big", "text": "x" * 30_000})
    channels, payloads = Stream().encode([Entry(layer._shard("room"), "room", body)])
    for index, (pg_channel, payload) in enumerate(zip(channels, payloads, strict=True)):
        if index != 2:
            await database.execute("SELECT pg_notify(%s, %s)", [pg_channel, payload.decode()])
    assert await receive(layer, channel) == {"type": "gap"}
    await nothing_more(layer, channel, "room")
    assert layer._listener().channels._assembly is None


async def test_a_listener_that_hears_nothing_is_replaced(
    make_layer: MakeLayer, database: psycopg.AsyncConnection
) -> None:
    layer = make_layer(heartbeat=0.2, gap_type="gap")
    channel = await _join(layer)
    # What a transaction-mode pooler does: the session lives, its LISTEN is gone.
    listener = layer._listener()
    assert listener._pgconn is not None
    listener._pgconn.send_query(b"UNLISTEN *")
    assert await receive(layer, channel) == {"type": "gap"}
    await nothing_more(layer, channel, "room")


async def test_a_check_tells_whether_listen_has_an_effect(layer: PostgresChannelLayer) -> None:
    await layer.check()
    pgconn = layer._listener()._pgconn
    assert pgconn is not None
    pgconn.send_query(b"UNLISTEN *")
    await until(lambda: not pgconn.is_busy())
    with pytest.raises(ListenError):
        await layer.check()


async def test_strangers_notifications_do_no_harm(
    layer: PostgresChannelLayer,
    database: psycopg.AsyncConnection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = await _join(layer)
    with caplog.at_level(logging.WARNING):
        for payload in ("", "nonsense", "AAAA", "kwECAw=="):
            await database.execute("SELECT pg_notify(%s, %s)", [layer._shard("room"), payload])
        await nothing_more(layer, channel, "room")
    assert "not of this layer" in caplog.text
