"""The process that sends."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from asgiref.sync import async_to_sync

from .loops import loop_factory
from .peers import close, make_layer

FRAME = json.dumps(
    {
        "type": "reply.delta",
        "conversation": "0190163d-8694-739b-aea5-966c26f8ad90",
        "message": "0190163d-8694-739b-aea5-966c26f8ad91",
        "attempt": 1,
        "index": 17,
        "text": " of the few words that a model writes in forty milliseconds",
    }
)


def message(group: str, number: int, frame: str = FRAME) -> dict[str, Any]:
    return {
        "type": "push",
        "group": group,
        "n": number,
        "sent": time.perf_counter(),
        "frame": frame,
    }


async def flat_out(
    layer: Any, groups: list[str], seconds: float, size: int = 0, first: int = 0, most: int = 2**31
) -> dict[str, Any]:
    """One task for each group, each sending its next as soon as the last was taken.

    Numbers go from `first`; each sends `most` at most.
    """
    frame = FRAME if size == 0 else "x" * size
    end = time.perf_counter() + seconds

    async def send(group: str) -> int:
        number = first
        while time.perf_counter() < end and number < first + most:
            await layer.group_send(group, message(group, number, frame))
            number += 1
        return number - first

    started = time.perf_counter()
    sent = sum(await asyncio.gather(*map(send, groups)))
    return {"sent": sent, "started": started, "ended": time.perf_counter()}


async def paced(layer: Any, groups: list[str], seconds: float, rate: float) -> dict[str, Any]:
    """So many a second over all groups, each awaited; late ones are not skipped."""
    numbers = dict.fromkeys(groups, 0)
    started = time.perf_counter()
    for n in range(int(rate * seconds)):
        pause = started + n / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        group = groups[n * 7919 % len(groups)]
        await layer.group_send(group, message(group, numbers[group]))
        numbers[group] += 1
    return {"sent": int(rate * seconds), "started": started, "ended": time.perf_counter()}


def from_threads(layer: Any, groups: list[str], seconds: float, patience: float) -> dict[str, Any]:
    """One thread for each group, each with async_to_sync, as under Gunicorn."""
    sent = dict.fromkeys(groups, 0)
    errors: list[str] = []
    started = time.perf_counter()

    def work(group: str) -> None:
        send: Callable[..., None] = async_to_sync(layer.group_send)
        try:
            while time.perf_counter() < started + seconds:
                send(group, message(group, sent[group]))
                sent[group] += 1
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work, args=[group], daemon=True) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, started + seconds + patience - time.perf_counter()))
    return {
        "sent": sum(sent.values()),
        "started": started,
        "ended": time.perf_counter(),
        "failed": len(errors) + sum(thread.is_alive() for thread in threads),
    }


def send(peer: str, pipe: Connection, plan: dict[str, Any]) -> None:
    """Do one order after another, as the orchestrator sends them."""
    layer = make_layer(peer)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        # Connected before anything is measured, as a process that has run a while is.
        for _ in range(3):
            await layer.group_send("warm-up", {"type": "push"})
        gc.collect()
        gc.freeze()
        pipe.send({"ready": True})
        while True:
            order = await loop.run_in_executor(None, pipe.recv)
            kind = order.pop("kind")
            if kind == "stop":
                break
            if kind == "one":
                note = message(order["group"], order["n"])
                await layer.group_send(order["group"], note)
                pipe.send({"started": note["sent"]})
            else:
                pipe.send(await {"flat_out": flat_out, "paced": paced}[kind](layer, **order))
        await close(layer)

    if plan.get("threads"):
        pipe.send({"ready": True})
        order = pipe.recv()
        del order["kind"]
        pipe.send(from_threads(layer, **order))
        # Threads that hang must not keep the process.
        pipe.recv()
        return
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work())
