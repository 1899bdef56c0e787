import asyncio
import random
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from chatire.layers import MessageTooLarge, PostgresChannelLayer

from .conftest import MakeLayer, nothing_more, receive


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
    assert len(layer._listener().mailboxes[channels[2]]) == 0


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
    assert len(layer._listener().mailboxes[silent]) == 10


async def test_a_full_local_channel_raises_channel_full(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=3)
    channel = await layer.new_channel()
    for _ in range(3):
        await layer.send(channel, {"type": "n"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "n"})


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


async def test_a_forgotten_channel_leaves_nothing_behind(layer: PostgresChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(100)]
    for channel in channels:
        await layer.group_add("room", channel)
    for channel in channels[:50]:
        layer.close_channel(channel)
    for channel in channels[50:]:
        await layer.group_discard("room", channel)
    listener = layer._listener()
    assert not listener.groups
    layer.expiry = -1
    for _ in range(2):
        listener._sweep()
    assert not listener.mailboxes
