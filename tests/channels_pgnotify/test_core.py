import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from channels.exceptions import ChannelFull
from channels_postgres.db import MESSAGE_TABLE

from channels_pgnotify import MessageTooLarge, PostgresChannelLayer
from channels_pgnotify.table import SENDS_PER_CLEANING

from .conftest import MakeLayer, nothing_more, receive, until


async def test_each_member_gets_a_message_once(layer: PostgresChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("room", channel)
    await layer.group_add("room", channels[0])
    await layer.group_discard("room", channels[2])
    await layer.group_send("room", {"type": "hello", "n": 1})
    for channel in channels[:2]:
        assert await receive(layer, channel) == {"type": "hello", "n": 1}
        await nothing_more(layer, channel, "room")
    assert len(layer._listener().channels.mailboxes[channels[2]]) == 0


async def test_a_message_crosses_from_one_process_to_another(make_layer: MakeLayer) -> None:
    here, there = make_layer(), make_layer()
    channel = await there.new_channel()
    await there.group_add("room", channel)
    await here.group_send("room", {"type": "to.group"})
    await here.send(channel, {"type": "to.channel"})
    assert {(await receive(there, channel))["type"] for _ in range(2)} == {"to.group", "to.channel"}


async def test_layers_of_another_prefix_hear_nothing(make_layer: MakeLayer) -> None:
    one, other = make_layer(prefix="one"), make_layer(prefix="other")
    channel = await one.new_channel()
    await one.group_add("room", channel)
    await other.group_send("room", {"type": "not.for.you"})
    await nothing_more(one, channel, "room")


async def test_a_group_keeps_each_senders_order(make_layer: MakeLayer) -> None:
    sender, receiver = make_layer(), make_layer(capacity=10_000)
    channel = await receiver.new_channel()
    groups = [f"room-{n}" for n in range(7)]
    for group in groups:
        await receiver.group_add(group, channel)

    async def send(group: str) -> None:
        for n in range(100):
            await sender.group_send(group, {"type": "n", "group": group, "n": n})

    await asyncio.gather(*map(send, groups))
    await sender.group_send_many(
        (group, {"type": "n", "group": group, "n": n}) for n in range(100, 200) for group in groups
    )
    heard: dict[str, list[int]] = {group: [] for group in groups}
    for _ in range(200 * len(groups)):
        message = await receive(receiver, channel)
        heard[message["group"]].append(message["n"])
    assert heard == {group: list(range(200)) for group in groups}


@pytest.mark.parametrize("size", [5_800, 5_900, 5_950, 6_000, 8_000, 100_000, 2**20])
async def test_messages_of_any_size_arrive_whole_and_in_order(
    layer: PostgresChannelLayer, size: int
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    payload = random.randbytes(size)
    messages: list[dict[str, Any]] = [
        {"type": "before"},
        {"type": "big", "bytes": payload, "text": "\0é😀", "nested": {"list": [1, None, 2.5]}},
        {"type": "after"},
    ]
    await layer.group_send_many(("room", message) for message in messages)
    assert [await receive(layer, channel) for _ in messages] == messages


async def test_a_message_over_the_limit_is_refused(layer: PostgresChannelLayer) -> None:
    with pytest.raises(MessageTooLarge):
        await layer.group_send("room", {"type": "big", "bytes": bytes(2**20 + 5000)})


@pytest.mark.parametrize("name", ["", "no spaces", "x" * 100, "é"])
async def test_a_name_that_other_layers_refuse_is_refused(
    layer: PostgresChannelLayer, name: str
) -> None:
    channel = await layer.new_channel()
    for work in (
        layer.group_send(name, {"type": "n"}),
        layer.group_add(name, channel),
        layer.group_discard(name, channel),
        layer.group_add("room", name),
        layer.group_discard("room", name),
        layer.send(name, {"type": "n"}),
        layer.receive(name),
    ):
        with pytest.raises(TypeError):
            await work
    with pytest.raises(TypeError):
        layer.group_send_sync(name, {"type": "n"})
    listener = layer._listener()
    assert not listener.channels.groups
    assert listener.channels.mailboxes.keys() == {channel}


@pytest.mark.parametrize("message", ["text", {"type": "n", "__asgi_channel__": "x"}])
async def test_what_is_no_message_is_refused(layer: PostgresChannelLayer, message: Any) -> None:
    with pytest.raises(AssertionError):
        await layer.group_send("room", message)


async def test_members_do_not_share_what_they_receive(layer: PostgresChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(2)]
    for channel in channels:
        await layer.group_add("room", channel)
    for message in ({"type": "flat"}, {"type": "nested", "inner": {"list": [1]}}):
        await layer.group_send("room", message)
        first = await receive(layer, channels[0])
        first.setdefault("inner", {})["list"] = "spoilt"
        assert await receive(layer, channels[1]) == message


async def test_encrypted_messages_are_unreadable_without_the_key(make_layer: MakeLayer) -> None:
    sealed = make_layer(symmetric_encryption_keys=["key"], gap_type="gap")
    plain = make_layer(gap_type="gap")
    channels = {layer: await layer.new_channel() for layer in (sealed, plain)}
    for layer, channel in channels.items():
        await layer.group_add("room", channel)
    await sealed.group_send("room", {"type": "secret"})
    assert await receive(sealed, channels[sealed]) == {"type": "secret"}
    # The other could not read it, and says so.
    assert await receive(plain, channels[plain]) == {"type": "gap"}


async def test_a_full_channel_loses_only_its_own_and_hears_of_it_last(
    make_layer: MakeLayer,
) -> None:
    layer = make_layer(capacity=5, gap_type="gap")
    slow, quick = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("room", slow)
    await layer.group_add("room", quick)
    for n in range(20):
        await layer.group_send("room", {"type": "n", "n": n})
        assert (await receive(layer, quick))["n"] == n
    assert [(await receive(layer, slow))["n"] for _ in range(5)] == list(range(5))
    assert await receive(layer, slow) == {"type": "gap"}
    await layer.group_send("room", {"type": "n", "n": 20})
    assert (await receive(layer, slow))["n"] == 20


async def test_a_member_that_never_reads_takes_bounded_memory(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=10)
    silent, reader = await layer.new_channel(), await layer.new_channel()
    for channel in (silent, reader):
        await layer.group_add("room", channel)
    for _ in range(20):
        await layer.group_send_many([("room", {"type": "n"})] * 5)
        for _ in range(5):
            await receive(layer, reader)
    assert len(layer._listener().channels.mailboxes[silent]) == 10


async def test_a_full_local_channel_raises_channel_full_and_has_no_gap(
    make_layer: MakeLayer,
) -> None:
    layer = make_layer(capacity=3, gap_type="gap")
    channel = await layer.new_channel()
    for _ in range(3):
        await layer.send(channel, {"type": "n"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "n"})
    for _ in range(3):
        assert await receive(layer, channel) == {"type": "n"}
    await layer.send(channel, {"type": "end"})
    assert await receive(layer, channel) == {"type": "end"}


async def test_a_channel_that_lags_is_full_until_its_reader_knows(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=1, gap_type="gap")
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for kind in ("kept", "dropped"):
        await layer.group_send("room", {"type": kind})
    assert await layer._listener().beats()
    # One gap stands for whatever was missed.
    layer._listener().channels.signal_gap()
    assert await receive(layer, channel) == {"type": "kept"}
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "refused"})
    assert await receive(layer, channel) == {"type": "gap"}
    await layer.send(channel, {"type": "end"})
    assert await receive(layer, channel) == {"type": "end"}


async def test_channels_over_capacity_are_logged(
    make_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer, other = make_layer(capacity=1), make_layer()
    one, two, three = [await layer.new_channel() for _ in range(3)]
    for channel in (one, two):
        await layer.group_add("room", channel)
    with caplog.at_level(logging.INFO, logger="channels_pgnotify"):
        for _ in range(3):
            await layer.group_send("room", {"type": "n"})
            await other.send(three, {"type": "n"})
        assert await layer._listener().beats()
    assert sorted(caplog.messages) == [
        "2 of 2 channels over capacity in group room",
        "a channel is over capacity",
    ]


async def test_a_cancelled_receive_loses_nothing(layer: PostgresChannelLayer) -> None:
    channel = await layer.new_channel()
    for n in range(50):
        task = asyncio.create_task(layer.receive(channel))
        await asyncio.sleep(0)
        await layer.send(channel, {"type": "n", "n": n})
        # The message is in the task's hands, but the task has not run since.
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert (await receive(layer, channel))["n"] == n


async def test_a_reader_that_gave_up_is_waited_for_no_more(layer: PostgresChannelLayer) -> None:
    channel = await layer.new_channel()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive(channel), 0.01)
    # Else a channel that is polled would grow, and never count as forgotten.
    assert not layer._listener().channels.mailboxes[channel].awaited


async def test_a_message_that_meets_a_reader_just_cancelled_waits_for_the_next(
    layer: PostgresChannelLayer,
) -> None:
    channel = await layer.new_channel()
    task = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    task.cancel()
    # The task has not run since.
    await layer.send(channel, {"type": "hello"})
    await asyncio.wait([task])
    assert task.cancelled()
    assert await receive(layer, channel) == {"type": "hello"}


async def test_a_message_for_a_cancelled_reader_goes_to_the_next_that_waits(
    layer: PostgresChannelLayer,
) -> None:
    channel = await layer.new_channel()
    first, second, third = [asyncio.create_task(receive(layer, channel)) for _ in range(3)]
    await asyncio.sleep(0)
    await layer.send(channel, {"type": "hello"})
    second.cancel()
    first.cancel()
    assert await third == {"type": "hello"}


async def test_a_reader_that_is_cancelled_leaves_the_others_waiting(
    layer: PostgresChannelLayer,
) -> None:
    channel = await layer.new_channel()
    first, second = [asyncio.create_task(receive(layer, channel)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await layer.send(channel, {"type": "hello"})
    assert await second == {"type": "hello"}


async def test_a_message_expires_unread_and_the_reader_is_told_before_the_next(
    layer: PostgresChannelLayer,
) -> None:
    channel = await layer.new_channel()
    layer.expiry = -1
    for n in range(2):
        await layer.send(channel, {"type": "n", "n": n})
    layer.expiry = 60
    for n in range(2, 4):
        await layer.send(channel, {"type": "n", "n": n})
    assert await receive(layer, channel) == {"type": "gap"}
    assert [(await receive(layer, channel))["n"] for _ in range(2)] == [2, 3]


async def test_a_channel_of_nothing_but_expired_messages_holds_one_gap(
    layer: PostgresChannelLayer,
) -> None:
    channel = await layer.new_channel()
    layer.expiry = -1
    for _ in range(3):
        await layer.send(channel, {"type": "n"})
    assert await receive(layer, channel) == {"type": "gap"}
    layer.expiry = 60
    await layer.send(channel, {"type": "end"})
    assert await receive(layer, channel) == {"type": "end"}


async def test_a_layer_without_a_gap_type_tells_of_no_gap(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=1)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for kind in ("kept", "dropped"):
        await layer.group_send("room", {"type": kind})
    assert await layer._listener().beats()
    assert await receive(layer, channel) == {"type": "kept"}
    reading = asyncio.create_task(receive(layer, channel))
    await asyncio.sleep(0)
    await layer.send(channel, {"type": "next"})
    assert await reading == {"type": "next"}


async def test_the_process_that_owns_a_channel_is_the_one_that_groups_it(
    make_layer: MakeLayer,
) -> None:
    one, other = make_layer(), make_layer()
    channel = await one.new_channel()
    with pytest.raises(RuntimeError, match="another process"):
        await other.group_add("room", channel)
    with pytest.raises(AssertionError):
        await other.receive(channel)


async def test_a_named_channel_keeps_its_messages_until_someone_reads_one_each(
    make_layer: MakeLayer,
) -> None:
    layers = [make_layer() for _ in range(3)]
    await layers[0].flush()
    for n in range(10):
        await layers[0].send("jobs", {"type": "job", "n": n})
    assert (await receive(layers[1], "jobs"))["n"] == 0
    tasks = [asyncio.create_task(receive(layer, "jobs")) for layer in layers for _ in range(3)]
    assert sorted([(await task)["n"] for task in tasks]) == list(range(1, 10))
    waiting = asyncio.create_task(receive(layers[2], "jobs"))
    await asyncio.sleep(0)
    await layers[0].send("jobs", {"type": "job", "big": "x" * 10_000})
    assert (await waiting)["big"] == "x" * 10_000


async def test_a_message_that_comes_while_its_reader_finds_none_is_read_at_once(
    make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(heartbeat=60)
    await layer.flush()
    take = layer._table.take

    async def take_slowly(channel: str) -> bytes | None:
        body = await take(channel)
        if body is None:
            await layer.send("jobs", {"type": "job"})
            # It was announced before the heartbeat came back, and the reader waits only then.
            assert await layer._listener().beats()
        return body

    monkeypatch.setattr(layer._table, "take", take_slowly)
    assert await receive(layer, "jobs") == {"type": "job"}
    monkeypatch.undo()
    reading = asyncio.create_task(receive(layer, "jobs"))
    await until(lambda: layer._listener().channels.mailboxes["jobs"].awaited)
    await layer.send("jobs", {"type": "another"})
    assert await reading == {"type": "another"}


async def test_a_named_channel_is_neither_filled_nor_read_by_another(
    make_layer: MakeLayer,
) -> None:
    layer = make_layer(channel_capacity={"*": 1})
    await layer.flush()
    for channel in ("mail", "jobs"):
        await layer.send(channel, {"type": channel})
    assert [await receive(layer, channel) for channel in ("jobs", "mail")] == [
        {"type": "jobs"},
        {"type": "mail"},
    ]


async def test_a_cancelled_reader_of_a_named_channel_takes_no_message_along(
    make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(heartbeat=60)
    await layer.flush()
    await layer.send("jobs", {"type": "job"})
    taken, go_on = asyncio.Event(), asyncio.Event()
    take = layer._table.take

    async def take_slowly(channel: str) -> bytes | None:
        body = await take(channel)
        taken.set()
        await go_on.wait()
        return body

    monkeypatch.setattr(layer._table, "take", take_slowly)
    reading = asyncio.create_task(receive(layer, "jobs"))
    await taken.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    go_on.set()
    assert await receive(layer, "jobs") == {"type": "job"}


async def test_a_cancelled_reader_of_a_named_channel_leaves_its_wake_to_another(
    make_layer: MakeLayer,
) -> None:
    layer = make_layer(heartbeat=60)
    await layer.flush()
    first, second = [asyncio.create_task(receive(layer, "jobs")) for _ in range(2)]
    mailboxes = layer._listener().channels.mailboxes
    await until(lambda: "jobs" in mailboxes and len(mailboxes["jobs"]._waiters or ()) == 2)
    waking = mailboxes["jobs"]._waiters[0]
    waking.add_done_callback(lambda _: first.cancel())
    await layer.send("jobs", {"type": "job"})
    assert await second == {"type": "job"}
    await asyncio.wait([first])


async def test_messages_of_a_named_channel_expire_and_make_room(make_layer: MakeLayer) -> None:
    layer = make_layer(channel_capacity={"jobs": 1})
    await layer.flush()
    layer.expiry = -1
    await layer.send("jobs", {"type": "stale"})
    layer.expiry = 60
    await layer.send("jobs", {"type": "fresh"})
    assert await receive(layer, "jobs") == {"type": "fresh"}


async def test_expired_messages_of_named_channels_are_deleted_in_the_end_and_no_others(
    make_layer: MakeLayer, database: psycopg.AsyncConnection
) -> None:
    layer = make_layer(capacity=1_000)
    await layer.flush()
    layer.expiry = -1
    await layer.send("jobs", {"type": "stale"})
    layer.expiry = 60
    for _ in range(SENDS_PER_CLEANING - 2):
        await layer.send("jobs", {"type": "fresh"})

    async def kept() -> int:
        cursor = await database.execute(f"SELECT count(*) FROM {MESSAGE_TABLE}")
        ((count,),) = await cursor.fetchall()
        return int(count)

    assert await kept() == SENDS_PER_CLEANING - 1
    await layer.send("jobs", {"type": "fresh"})
    assert await kept() == SENDS_PER_CLEANING - 1, "one more, and one less"
    await layer.flush()


async def test_a_full_named_channel_raises_channel_full(make_layer: MakeLayer) -> None:
    layer = make_layer(channel_capacity={"ti?y": 1})
    await layer.flush()
    await layer.send("tiny", {"type": "n"})
    with pytest.raises(ChannelFull):
        await layer.send("tiny", {"type": "n"})
    await layer.flush()


async def test_joining_many_groups_costs_a_connection_no_more_than_its_shards(
    make_layer: MakeLayer, database: Any
) -> None:
    layer = make_layer(shards=3, capacity=1_000)
    channel = await layer.new_channel()
    for n in range(500):
        await layer.group_add(f"room-{n}", channel)
    assert len(layer._listener()._effective) == 4
    await layer.group_send_many((f"room-{n}", {"type": "n", "n": n}) for n in range(500))
    heard = [(await receive(layer, channel))["n"] for _ in range(500)]
    assert sorted(heard) == list(range(500))


async def test_a_closed_layer_can_be_used_again(layer: PostgresChannelLayer) -> None:
    for _ in range(2):
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "hello"})
        assert await receive(layer, channel) == {"type": "hello"}
        await layer.close()


async def test_a_channel_is_forgotten_once_unread_for_longer_than_messages_live(
    make_layer: MakeLayer,
) -> None:
    layer = make_layer(heartbeat=10, expiry=20, group_expiry=40)
    unread, grouped, read = [await layer.new_channel() for _ in range(3)]
    await layer.group_add("room", grouped)
    awaited = await layer.new_channel()
    waiting = asyncio.create_task(layer.receive(awaited))
    await asyncio.sleep(0)
    listener = layer._listener()

    async def heartbeats(count: int) -> None:
        for _ in range(count):
            await layer.send(read, {"type": "n"})
            await receive(layer, read)
            listener.channels.sweep()

    await heartbeats(3)
    assert set(listener.channels.mailboxes) == {unread, grouped, read, awaited}
    await heartbeats(1)
    assert set(listener.channels.mailboxes) == {grouped, read, awaited}
    await heartbeats(1)
    assert set(listener.channels.mailboxes) == {grouped, read, awaited}
    await heartbeats(1)
    assert set(listener.channels.mailboxes) == {read, awaited}
    assert not listener.channels.groups
    delivered = await layer.new_channel()
    layer.deliver_to(delivered, Taker())
    waiting.cancel()
    await asyncio.wait([waiting])
    await heartbeats(4)
    assert set(listener.channels.mailboxes) == {read, delivered}


class Taker:
    """Takes whatever comes, with `then`."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.taken: list[dict[str, Any]] = []
        self.then = then

    def take(self, message: dict[str, Any]) -> bool:
        self.taken.append(message)
        self.then()
        return True

    def look(self) -> None:
        self.then()


async def test_whoever_takes_a_message_may_leave_at_once(layer: PostgresChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(3)]
    takers = [Taker(partial(layer.close_channel, channel)) for channel in channels]
    for channel, taker in zip(channels, takers, strict=True):
        layer.deliver_to(channel, taker)
        await layer.group_add("room", channel)
    await layer.group_send("room", {"type": "n"})
    await until(lambda: not layer._listener().channels.mailboxes)
    assert [len(taker.taken) for taker in takers] == [1, 1, 1]
    assert layer.receive_nowait(channels[0]) is None


async def test_what_waited_before_there_was_a_taker_is_there_to_be_looked_at(
    layer: PostgresChannelLayer,
) -> None:
    looked: list[None] = []
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "n"})
    taker = Taker(lambda: looked.append(None))
    layer.deliver_to(channel, taker)
    assert (len(looked), taker.taken) == (1, [])
    assert layer.receive_nowait(channel) == {"type": "n"}
    assert layer.receive_nowait(channel) is None


async def test_a_forgotten_channel_leaves_nothing_behind(layer: PostgresChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(100)]
    for channel in channels:
        await layer.group_add("room", channel)
    for channel in channels[:50]:
        layer.close_channel(channel)
    for channel in channels[50:]:
        await layer.group_discard("room", channel)
    listener = layer._listener()
    assert not listener.channels.groups
    layer.expiry = -1
    for _ in range(2):
        listener.channels.sweep()
    assert not listener.channels.mailboxes
