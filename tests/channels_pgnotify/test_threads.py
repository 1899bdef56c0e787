"""The layer from other threads, other event loops and other processes."""

import asyncio
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from channels_pgnotify import PostgresChannelLayer

from .conftest import DEADLINE, MakeLayer, backends, receive, until


async def test_eight_threads_under_async_to_sync_deliver_everything_once(
    make_layer: MakeLayer,
) -> None:
    sender, receiver = make_layer(), make_layer(capacity=10_000)
    channel = await receiver.new_channel()
    await receiver.group_add("room", channel)

    def work(thread: int) -> None:
        for n in range(50):
            async_to_sync(sender.group_send)("room", {"type": "n", "thread": thread, "n": n})

    with ThreadPoolExecutor(8) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, work, thread) for thread in range(8)))
    heard: dict[int, list[int]] = {thread: [] for thread in range(8)}
    for _ in range(400):
        message = await receive(receiver, channel)
        heard[message["thread"]].append(message["n"])
    assert heard == {thread: list(range(50)) for thread in range(8)}


async def test_threads_that_publish_share_one_connection(
    layer: PostgresChannelLayer, database: object
) -> None:
    with ThreadPoolExecutor(8) as pool:
        loop = asyncio.get_running_loop()
        send = async_to_sync(layer.group_send)
        await asyncio.gather(
            *(loop.run_in_executor(pool, send, "room", {"type": "n"}) for _ in range(50))
        )
    assert len(await backends(database, "chatire publish")) == 1
    assert await backends(database, "chatire listen") == []


async def test_fifty_consumers_that_connect_at_once_get_each_event_once(
    make_layer: MakeLayer, database: object
) -> None:
    layer = make_layer(capacity=1_000)
    joined = asyncio.Barrier(51)
    heard: Counter[tuple[int, int]] = Counter()

    async def consumer(number: int) -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        await joined.wait()
        for _ in range(20):
            heard[number, (await receive(layer, channel))["n"]] += 1
        assert len(layer._listener().channels.mailboxes[channel]) == 0

    async with asyncio.TaskGroup() as tasks:
        for number in range(50):
            tasks.create_task(consumer(number))
        await joined.wait()
        assert len(await backends(database, "chatire listen")) == 1
        for n in range(20):
            await layer.group_send("room", {"type": "n", "n": n})
    assert heard == {(number, n): 1 for number in range(50) for n in range(20)}


async def test_an_event_loop_in_another_thread_has_its_own_listener(
    layer: PostgresChannelLayer,
) -> None:
    joined = threading.Event()

    async def elsewhere() -> list[str]:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        joined.set()
        return [(await receive(layer, channel))["type"] for _ in range(2)]

    task = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await asyncio.to_thread(joined.wait, DEADLINE)
    for n in range(2):
        await layer.group_send("room", {"type": f"n{n}"})
    assert [(await receive(layer, channel))["type"] for _ in range(2)] == ["n0", "n1"]
    assert await task == ["n0", "n1"]
    assert layer._listeners.keys() == {asyncio.get_running_loop()}


async def test_a_channel_is_grouped_and_reached_from_another_threads_loop(
    layer: PostgresChannelLayer,
) -> None:
    channel = await layer.new_channel()

    async def elsewhere() -> None:
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "grouped"})
        await layer.send(channel, {"type": "direct"})

    await asyncio.to_thread(asyncio.run, elsewhere())
    heard = {(await receive(layer, channel))["type"] for _ in range(2)}
    assert heard == {"grouped", "direct"}

    async def leave() -> None:
        await layer.group_discard("room", channel)

    await asyncio.to_thread(asyncio.run, leave())
    await until(lambda: not layer._listener().channels.groups)


async def test_flushing_forgets_the_channels_of_every_loop(layer: PostgresChannelLayer) -> None:
    joined, flushed = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        await layer.group_add("room", await layer.new_channel())
        listener = layer._listener()
        joined.set()
        await asyncio.to_thread(flushed.wait, DEADLINE)
        await until(lambda: not listener.channels.mailboxes and not listener.channels.groups)

    task = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await layer.group_add("room", await layer.new_channel())
    await asyncio.to_thread(joined.wait, DEADLINE)
    await layer.flush()
    flushed.set()
    await task
    assert not layer._listeners


async def test_nothing_is_left_of_a_loop_that_closed(
    make_layer: MakeLayer, database: object
) -> None:
    layer = make_layer()

    async def use() -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)

    for _ in range(5):
        await asyncio.to_thread(asyncio.run, use())
    assert not layer._listeners
    async with asyncio.timeout(DEADLINE):
        while await backends(database, "chatire listen"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_loop_closed_without_ceremony_takes_its_connection_along(db: None) -> None:
    layer = PostgresChannelLayer()
    loop = asyncio.new_event_loop()
    channel = loop.run_until_complete(layer.new_channel())
    async_to_sync(layer.send)(channel, {"type": "hello"})
    assert loop.run_until_complete(layer.receive(channel)) == {"type": "hello"}
    loop.close()
    assert not layer._listeners
    async_to_sync(layer.close)()


def test_a_channel_made_in_one_loop_is_read_in_another(db: None) -> None:
    layer = PostgresChannelLayer()
    channel = async_to_sync(layer.new_channel)()
    async_to_sync(layer.send)(channel, {"type": "hello"})
    assert async_to_sync(layer.receive)(channel) == {"type": "hello"}
    async_to_sync(layer.close)()


async def test_a_forked_child_publishes_and_the_parent_goes_on(
    make_layer: MakeLayer,
) -> None:
    layer = make_layer()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.group_send("room", {"type": "before"})
    assert await receive(layer, channel) == {"type": "before"}
    parents = layer.client_prefix

    pid = _fork(lambda: _child(layer, parents))
    status = await asyncio.to_thread(lambda: os.waitpid(pid, 0)[1])
    assert status == 0
    assert await receive(layer, channel) == {"type": "from.child"}
    assert await receive(layer, channel) == {"type": "to.parent"}
    await layer.group_send("room", {"type": "after"})
    assert await receive(layer, channel) == {"type": "after"}


def _fork(work: object) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            # The parent's loop is not running here, whatever this thread remembers of it.
            asyncio._set_running_loop(None)
            work()  # type: ignore[operator]
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    return pid


def _child(layer: PostgresChannelLayer, parents: str) -> None:
    async def use() -> None:
        assert layer.client_prefix != parents
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "from.child"})
        assert await receive(layer, channel) == {"type": "from.child"}
        await layer.group_discard("room", channel)
        await layer.group_send("room", {"type": "to.parent"})

    asyncio.run(use())


@pytest.mark.django_db(transaction=True)
async def test_the_synchronous_path_delivers_once_and_in_order(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=1_000)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)

    def work() -> None:
        layer.group_send_sync("room", {"type": "n", "n": 0})
        layer.group_send_many_sync(("room", {"type": "n", "n": n}) for n in range(1, 100))
        layer.group_send_many_sync([])
        layer.group_send_sync("room", {"type": "n", "n": 100, "big": "x" * 50_000})
        connection.close()

    await asyncio.to_thread(work)
    assert [(await receive(layer, channel))["n"] for _ in range(101)] == list(range(101))


@pytest.mark.django_db(transaction=True)
def test_the_synchronous_path_refuses_a_transaction() -> None:
    layer = PostgresChannelLayer()
    with transaction.atomic(), pytest.raises(TransactionManagementError):
        layer.group_send_sync("room", {"type": "n"})


@pytest.mark.django_db(transaction=True)
async def test_the_synchronous_path_to_another_database_minds_no_transaction(
    make_layer: MakeLayer,
) -> None:
    receiver = make_layer()
    channel = await receiver.new_channel()
    await receiver.group_add("room", channel)
    # Said to be another one, so that it has to be reached by a connection of its own.
    sender = make_layer(**connection.settings_dict)
    sender._database.is_djangos = lambda: False  # type: ignore[method-assign]

    def work() -> None:
        with transaction.atomic():
            sender.group_send_sync("room", {"type": "hello"})
            transaction.set_rollback(True)
        connection.close()

    await asyncio.to_thread(work)
    assert await receive(receiver, channel) == {"type": "hello"}
