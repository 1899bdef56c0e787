"""What goes wrong between the layer and Postgres."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from channels.exceptions import ChannelFull
from channels_postgres.db import MESSAGE_TABLE

from channels_pgnotify import ListenError, PostgresChannelLayer, PublishBacklogFull, PublishError
from channels_pgnotify.codec import MAX_MESSAGE_SIZE, Entry, Stream
from channels_pgnotify.delivery import STREAM_TICKS
from channels_pgnotify.publisher import Bell

from .conftest import DEADLINE, MakeLayer, backends, nothing_more, receive, until


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


async def test_a_connection_that_breaks_under_a_message_costs_nothing(
    layer: PostgresChannelLayer,
    database: psycopg.AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = await _join(layer)
    publisher = layer._publisher
    await layer.group_send("room", {"type": "n", "n": 0})
    await until(lambda: publisher._asleep)
    (pid,) = await backends(database, "chatire publish")
    begin, params = publisher._session.begin_notify, layer._database.params("test")

    def cut_and_begin(channels: Sequence[str], payloads: Sequence[bytes]) -> bool:
        monkeypatch.undo()
        with psycopg.connect(autocommit=True, **params) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return begin(channels, payloads)

    monkeypatch.setattr(publisher._session, "begin_notify", cut_and_begin)
    for n in (1, 2):
        await layer.group_send("room", {"type": "n", "n": n})
    assert publisher._session.begin_notify == begin, "the message was not sent directly"
    assert [(await receive(layer, channel))["n"] for _ in range(3)] == [0, 1, 2]
    await nothing_more(layer, channel, "room")


@asynccontextmanager
async def _held_up(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> AsyncIterator[asyncio.Task[Any]]:
    """The publishing connection waits in a statement until the end; yields the statement's task."""
    await database.execute("SELECT pg_advisory_lock(7)")
    try:
        statement = asyncio.create_task(
            layer._publisher.execute("SELECT pg_advisory_xact_lock_shared(7)")
        )
        async with asyncio.timeout(DEADLINE):
            while not await _is_waiting(database):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield statement
    finally:
        await database.execute("SELECT pg_advisory_unlock(7)")


async def _is_waiting(database: psycopg.AsyncConnection) -> bool:
    cursor = await database.execute(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    )
    ((waits,),) = await cursor.fetchall()
    return bool(waits)


async def test_a_statement_whose_connection_breaks_is_not_run_again(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    async with _held_up(layer, database) as statement:
        await _terminate(database, "chatire publish")
        with pytest.raises(PublishError, match="broke"):
            await statement
    assert await layer._publisher.execute("SELECT 1") == [(b"1",)]


async def test_a_connection_that_died_unnoticed_is_found_out_before_a_statement(
    layer: PostgresChannelLayer,
    database: psycopg.AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait = Bell.wait

    def wait_for_the_bell_alone(bell: Bell, descriptor: int, timeout: float | None) -> Any:
        return wait(bell, -1, timeout)

    # As if the thread had other things to do when the server closed the connection.
    monkeypatch.setattr(Bell, "wait", wait_for_the_bell_alone)
    await layer._publisher.execute("SELECT 1")
    await _terminate(database, "chatire publish")
    assert await layer._publisher.execute("SELECT 2") == [(b"2",)]


async def test_a_server_connection_that_has_not_seen_our_prepare_is_replaced(
    layer: PostgresChannelLayer,
) -> None:
    channel = await _join(layer)
    # As behind a pooler that gives each transaction another one.
    await layer._publisher.execute("DEALLOCATE ALL")
    message = {"type": "big", "text": "x" * 20_000}
    await layer.group_send("room", message)
    assert await receive(layer, channel) == message


async def test_a_statement_that_postgres_refuses_fails_its_sender_alone(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    await layer.group_send("room", {"type": "n", "n": 0})
    before = await backends(database, "chatire publish")
    with pytest.raises(PublishError, match="nonsense"):
        await layer._publisher.execute("SELECT nonsense")
    await layer.group_send("room", {"type": "n", "n": 1})
    assert [(await receive(layer, channel))["n"] for _ in range(2)] == [0, 1]
    assert await backends(database, "chatire publish") == before


async def test_what_waits_to_be_published_is_bounded_and_what_was_taken_is_sent(
    layer: PostgresChannelLayer,
    database: psycopg.AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = await _join(layer)
    sent = []

    def send(n: int) -> None:
        message = {"type": "n", "n": n, "text": "x" * 1_000}
        sent.append(asyncio.create_task(layer.group_send("room", message)))

    async with _held_up(layer, database) as statement:
        # One that is over the limit by itself is taken if it is alone.
        monkeypatch.setattr("channels_pgnotify.publisher.BACKLOG_BYTES", 500)
        monkeypatch.setattr("channels_pgnotify.publisher.BACKLOG_BYTES", 500)
        before = layer._publisher._pending_bytes
        send(0)
        await asyncio.sleep(0)
        size = layer._publisher._pending_bytes - before
        assert size > 1_000
        # Room for three, to the byte.
        monkeypatch.setattr("channels_pgnotify.publisher.BACKLOG_BYTES", 3 * size)
        for n in (1, 2, 3):
            send(n)
        await asyncio.sleep(0)
        with pytest.raises(PublishBacklogFull) as refusal:
            await sent.pop()
        assert isinstance(refusal.value, ChannelFull)
    await asyncio.gather(statement, *sent)
    assert [(await receive(layer, channel))["n"] for _ in range(3)] == [0, 1, 2]


async def test_what_was_published_makes_room_for_more(
    layer: PostgresChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels_pgnotify.publisher.BACKLOG_BYTES", 5_000)
    message = {"type": "n", "text": "x" * 1_000}
    for _ in range(10):
        await asyncio.gather(*(layer.group_send("room", message) for _ in range(4)))


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


async def test_a_lost_last_notification_is_noticed_though_messages_come_one_by_one(
    layer: PostgresChannelLayer,
) -> None:
    channel = await _join(layer)
    publisher = layer._publisher
    for n in range(2):
        await layer.group_send("room", {"type": "n", "n": n})
        assert await receive(layer, channel) == {"type": "n", "n": n}
        # The position was repeated, and the thread sleeps: who brings the next one sends it.
        await until(lambda: publisher._asleep and not publisher._dirty)
    await layer.group_send("room", {"type": "n", "n": 2})
    assert await receive(layer, channel) == {"type": "n", "n": 2}
    publisher._stream._last[layer._shard("room")] += 1
    assert await receive(layer, channel) == {"type": "gap"}


async def test_a_loss_after_a_reconnect_is_told_as_one_before_it(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    notifications = _numbered(layer, 9)

    async def publish(*numbers: int) -> None:
        for number in numbers:
            pg_channel, payload = notifications[number]
            await database.execute("SELECT pg_notify(%s, %s)", [pg_channel, payload])

    async def heard(count: int) -> list[Any]:
        messages = [await receive(layer, channel) for _ in range(count)]
        return [message.get("n", message["type"]) for message in messages]

    await publish(0, 2, 3)
    assert await heard(4) == [0, "gap", 2, 3]
    await _terminate(database, "chatire listen")
    assert await heard(1) == ["gap"]
    # Every channel was told of what came meanwhile.
    await publish(5, 6)
    assert await heard(2) == [5, 6]
    await publish(8)
    assert await heard(2) == ["gap", 8]


def _numbered(layer: PostgresChannelLayer, count: int) -> list[tuple[str, str]]:
    """What one publisher would notify for so many messages to the room: channels and payloads."""
    stream, shard = Stream(), layer._shard("room")
    notifications = []
    for n in range(count):
        entry = Entry(shard, "room", layer.serialize({"type": "n", "n": n}))
        ((pg_channel,), (payload,)) = stream.encode([entry])
        notifications.append((pg_channel, payload.decode()))
    return notifications


@pytest.mark.parametrize(("silence", "known"), [(STREAM_TICKS, True), (STREAM_TICKS + 1, False)])
async def test_a_publisher_is_remembered_for_a_while_after_its_last_message(
    make_layer: MakeLayer, database: psycopg.AsyncConnection, silence: int, known: bool
) -> None:
    layer = make_layer(gap_type="gap", group_expiry=10_000)
    channel = await _join(layer)
    notifications = _numbered(layer, 4)
    for number, silent in ((0, STREAM_TICKS), (1, silence), (3, 0)):
        await database.execute("SELECT pg_notify(%s, %s)", notifications[number])
        if number == 3 and known:
            assert await receive(layer, channel) == {"type": "gap"}
        assert await receive(layer, channel) == {"type": "n", "n": number}
        for _ in range(silent):
            layer._listener().channels.sweep()


async def test_a_message_at_the_size_limit_is_put_together_and_one_over_it_is_not(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    listener, stream = layer._listener(), Stream()
    overhead = len(layer.serialize({"type": "big", "bytes": bytes(2**20)})) - 2**20
    for excess in (0, 1):
        content = bytes(MAX_MESSAGE_SIZE - overhead + excess)
        body = layer.serialize({"type": "big", "bytes": content})
        assert len(body) == MAX_MESSAGE_SIZE + excess
        for pg_channel, payload in zip(
            *stream.encode([Entry(layer._shard("room"), "room", body)]), strict=True
        ):
            await database.execute("SELECT pg_notify(%s, %s)", [pg_channel, payload.decode()])
        message = await receive(layer, channel)
        assert message == ({"type": "gap"} if excess else {"type": "big", "bytes": content})
    await nothing_more(layer, channel, "room")
    assert listener.channels._assembly is None


async def test_parts_of_different_messages_are_not_put_together(
    layer: PostgresChannelLayer, database: psycopg.AsyncConnection
) -> None:
    channel = await _join(layer)
    body = layer.serialize({"type": "big", "text": "x" * 10_000})
    entry = Entry(layer._shard("room"), "room", body)
    one, other = (Stream().encode([entry]) for _ in range(2))
    assert len(one[0]) == 2
    for (channels, payloads), index in ((one, 0), (other, 1)):
        await database.execute(
            "SELECT pg_notify(%s, %s)", [channels[index], payloads[index].decode()]
        )
    assert await receive(layer, channel) == {"type": "gap"}
    await nothing_more(layer, channel, "room")


async def test_the_position_is_repeated_after_messages_and_not_after_heartbeats(
    layer: PostgresChannelLayer,
    database: psycopg.AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("channels_pgnotify.publisher.TIP_SECONDS", 60)
    await _join(layer)
    await layer.check()
    assert not layer._publisher._dirty
    # Both go in one statement.
    async with _held_up(layer, database):
        beating = asyncio.create_task(layer.check())
        sending = asyncio.create_task(layer.group_send("room", {"type": "n"}))
        await until(lambda: len(layer._publisher._pending) == 2)
    await asyncio.gather(beating, sending)
    assert layer._shard("room") in layer._publisher._dirty


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


async def test_a_group_that_could_not_be_joined_is_not_and_one_joined_before_stays(
    make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer()
    channel = await _join(layer, "before")
    listener = layer._listener()

    async def refuse(pg_channel: str) -> None:
        raise ListenError

    monkeypatch.setattr(listener, "is_listening", lambda _: False)
    monkeypatch.setattr(listener, "listen", refuse)
    for group in ("before", "room"):
        with pytest.raises(ListenError):
            await layer.group_add(group, channel)
    assert listener.channels.groups.keys() == {"before"}
    assert listener.channels.mailboxes[channel].groups == {"before"}


async def test_listening_that_does_not_begin_in_time_is_an_error(
    make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels_pgnotify.listener.LISTEN_SECONDS", 0.2)
    layer = make_layer(NAME="nowhere", HOST="127.0.0.1", PORT="1")
    with pytest.raises(ListenError, match=r"within 0.2 s"):
        await layer.new_channel()


async def test_a_message_to_a_named_channel_that_nobody_heard_of_is_read_at_the_reconnect(
    make_layer: MakeLayer, database: psycopg.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, other = make_layer(heartbeat=60), make_layer()
    await other.flush()
    reading = asyncio.create_task(receive(layer, "jobs"))
    listener = layer._listener()
    await until(
        lambda: (
            "jobs" in listener.channels.mailboxes and listener.channels.mailboxes["jobs"].awaited
        )
    )
    connect = listener._connect

    async def send_and_connect() -> None:
        await other.send("jobs", {"type": "job"})
        await connect()

    monkeypatch.setattr(listener, "_connect", send_and_connect)
    await _terminate(database, "chatire listen")
    assert await reading == {"type": "job"}


async def test_a_message_to_a_named_channel_that_was_not_announced_is_read_at_a_heartbeat(
    make_layer: MakeLayer, database: psycopg.AsyncConnection
) -> None:
    layer = make_layer(heartbeat=0.2)
    await layer.flush()
    reading = asyncio.create_task(receive(layer, "jobs"))
    listener = layer._listener()
    await until(
        lambda: (
            "jobs" in listener.channels.mailboxes and listener.channels.mailboxes["jobs"].awaited
        )
    )
    # Triggers do not run.
    await database.execute("SET session_replication_role = replica")
    await database.execute(
        f"INSERT INTO {MESSAGE_TABLE} (channel, message, expire)"
        " VALUES ('jobs', %s, now() + interval '1 minute')",
        [layer.serialize({"type": "job"})],
    )
    assert await reading == {"type": "job"}


async def test_a_publisher_that_fails_says_nothing_against_listening(
    layer: PostgresChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await _join(layer)
    listener = layer._listener()

    async def fail(*_: object, **__: object) -> None:
        raise PublishError

    with monkeypatch.context() as patch:
        patch.setattr(layer._publisher, "publish", fail)
        await layer.check()
    assert listener.is_listening(layer._inbox(layer.client_prefix))
    await layer.check()
    await nothing_more(layer, channel, "room")


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
