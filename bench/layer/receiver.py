"""The process that receives: it joins, says so, counts and checks, and reports."""

from __future__ import annotations

import asyncio
import time
from array import array
from multiprocessing.connection import Connection
from typing import Any

from .peers import close, make_layer, prepare

JOINERS = 50


class Member:
    """One channel in some groups, and what it has heard."""

    def __init__(self, channel: str, groups: list[str]) -> None:
        self.channel = channel
        self.expected = dict.fromkeys(groups, 0)
        self.count = 0
        self.lost = self.doubled = self.disordered = 0
        self.delays = array("d")
        self.last = 0.0

    def hear(self, message: dict[str, Any], now: float) -> None:
        """Check a message's number: each group's messages are numbered from 0."""
        self.last = now
        self.delays.append(now - message["sent"])
        group, number = message["group"], message["n"]
        expected = self.expected[group]
        if number == expected:
            self.expected[group] = number + 1
            self.count += 1
        elif number < expected:
            self.doubled += 1
        else:
            self.disordered += 1
            self.expected[group] = number + 1
            self.count += 1


async def receive(peer: str, pipe: Connection, plan: dict[str, Any]) -> None:
    """Join as planned, report {"ready"}, answer the sender's rounds, report what was heard."""
    layer = make_layer(peer)
    await prepare(peer, layer)
    started = time.perf_counter()
    members = await _join(layer, plan)
    joined = time.perf_counter() - started
    progress = asyncio.Event()
    tasks = [asyncio.create_task(_listen(layer, member, progress)) for member in members]
    await asyncio.sleep(0.5)
    pipe.send({"ready": joined})

    loop = asyncio.get_running_loop()
    while True:
        order = await loop.run_in_executor(None, pipe.recv)
        if "stop" in order:
            break
        # {"until": how many messages all members together should have}
        wanted, patience = order["until"], order["patience"]
        complete = await _wait(members, wanted, patience, progress)
        pipe.send({"complete": complete, "last": max(member.last for member in members)})
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    delays = sorted(delay for member in members for delay in member.delays)
    heard = sum(member.count for member in members)
    pipe.send(
        {
            "heard": heard,
            "doubled": sum(member.doubled for member in members),
            "disordered": sum(member.disordered for member in members),
            "p50": delays[len(delays) // 2] if delays else None,
            "p99": delays[int(len(delays) * 0.99)] if delays else None,
        }
    )
    await close(layer)


async def _join(layer: Any, plan: dict[str, Any]) -> list[Member]:
    """`members`: one list of groups for each; at most 50 join at a time, as sockets do."""
    gate = asyncio.Semaphore(JOINERS)

    async def join(groups: list[str]) -> Member:
        async with gate:
            channel = await layer.new_channel()
            for group in groups:
                await layer.group_add(group, channel)
            return Member(channel, groups)

    return await asyncio.gather(*(join(groups) for groups in plan["members"]))


async def _listen(layer: Any, member: Member, progress: asyncio.Event) -> None:
    receive_one, channel, hear, clock = (
        layer.receive,
        member.channel,
        member.hear,
        time.perf_counter,
    )
    while True:
        hear(await receive_one(channel), clock())
        progress.set()


async def _wait(
    members: list[Member], wanted: int, patience: float, progress: asyncio.Event
) -> bool:
    """Until all was heard; False if nothing more came for `patience` seconds."""
    while True:
        heard = sum(member.count for member in members)
        if heard >= wanted:
            return True
        progress.clear()
        try:
            async with asyncio.timeout(patience):
                await progress.wait()
        except TimeoutError:
            return False
        # Counting costs as much as receiving if done for every message.
        if wanted - heard > len(members):
            await asyncio.sleep(0.01)
