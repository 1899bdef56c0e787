"""The process that receives: it joins, says so, counts and checks, and reports."""

from __future__ import annotations

import asyncio
import gc
import time
from multiprocessing.connection import Connection
from typing import Any

from .peers import close, make_layer, prepare

JOINERS = 50


class Member:
    """One channel in some groups, and what it has heard."""

    def __init__(self, channel: str, groups: list[str]) -> None:
        self.channel = channel
        self.groups = groups
        # (group, number, when sent, when heard); checked in the end, so that a case measures the
        # layer and not the checking.
        self.heard: list[tuple[str, int, float, float]] = []
        self.number = 0  # how many, where they are not kept

    def check(self) -> tuple[int, int, int]:
        """How many messages came first, again, and out of order; each group counts from 0."""
        expected = dict.fromkeys(self.groups, 0)
        first = again = disordered = 0
        for group, number, _, _ in self.heard:
            if number < expected[group]:
                again += 1
                continue
            disordered += number > expected[group]
            expected[group] = number + 1
            first += 1
        return first, again, disordered


async def receive(peer: str, pipe: Connection, plan: dict[str, Any]) -> None:
    """Join as planned, report {"ready"}, answer the sender's rounds, report what was heard."""
    layer = make_layer(peer)
    await prepare(peer, layer)
    started = time.perf_counter()
    members = await _join(layer, plan)
    joined = time.perf_counter() - started
    progress = asyncio.Event()
    listen = _count if plan.get("uncounted") else _listen
    tasks = [asyncio.create_task(listen(layer, member, progress)) for member in members]
    for _ in range(plan.get("silent", 0)):
        # A member of every group that never reads.
        channel = await layer.new_channel()
        for member in members:
            for group in member.groups:
                await layer.group_add(group, channel)
    await asyncio.sleep(0.5)
    # A collection of everything that was imported takes 20 ms, at a moment of its own choosing.
    gc.collect()
    gc.freeze()
    pipe.send({"ready": joined})

    loop = asyncio.get_running_loop()
    while True:
        order = await loop.run_in_executor(None, pipe.recv)
        if "stop" in order:
            break
        # {"until": how many messages all members together should have}
        wanted, patience = order["until"], order["patience"]
        complete = await _wait(members, wanted, patience, progress)
        pipe.send(
            {
                "complete": complete,
                "last": max((m.heard[-1][3] for m in members if m.heard), default=0.0),
            }
        )
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    delays = sorted(then - sent for member in members for _, _, sent, then in member.heard)
    checks = [member.check() for member in members]
    pipe.send(
        {
            "heard": sum(first for first, _, _ in checks),
            "doubled": sum(again for _, again, _ in checks),
            "disordered": sum(disordered for _, _, disordered in checks),
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
    receive_one, channel, keep, clock = (
        layer.receive,
        member.channel,
        member.heard.append,
        time.perf_counter,
    )
    while True:
        message = await receive_one(channel)
        keep((message["group"], message["n"], message["sent"], clock()))
        progress.set()


async def _count(layer: Any, member: Member, progress: asyncio.Event) -> None:
    """Check each message at once and keep none, for a run whose memory is looked at."""
    (group,) = member.groups
    while True:
        message = await layer.receive(member.channel)
        if message["n"] != member.number:
            raise AssertionError(f"{group}: {message['n']} instead of {member.number}")
        member.number += 1
        progress.set()


async def _wait(
    members: list[Member], wanted: int, patience: float, progress: asyncio.Event
) -> bool:
    """Until all was heard; False if nothing more came for `patience` seconds."""
    while True:
        heard = sum(len(member.heard) + member.number for member in members)
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
