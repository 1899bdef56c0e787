"""What is measured. Each case runs one peer once and returns its figures."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import statistics
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import psutil

from .loops import loop_factory

Figures = dict[str, float]

PATIENCE = 5.0  # seconds without a message before a case gives up on the rest


class Wrong(Exception):
    """A member did not get each message once and in order."""


def _measure_consumer(kind: str, pipe: Connection) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    from .consumers import measure

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        pipe.send(runner.run(measure(kind)))


def consumer(kind: str) -> Figures:
    """(h): µs for one pushed frame and socket in one process, with that kind of consumer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure_consumer, args=(kind, theirs))
    process.start()
    theirs.close()
    try:
        return {"µs": ours.recv()}
    except EOFError:
        raise Wrong("the process died") from None
    finally:
        process.join()


def memory(peer: str, *, messages: int) -> Figures:
    """MB by which sender and receiver grow while the later four fifths of the messages pass.

    One member never reads; its queue is full before the first fifth is through.
    """
    groups = [f"group-{n}" for n in range(50)]
    os.environ["BENCH_CAPACITY"] = "20000"
    sizes: list[tuple[float, float]] = []
    share = messages // 5 // len(groups)
    try:
        plan = {"uncounted": True, "silent": 1}
        with pair(peer, [[group] for group in groups], **plan) as (sender, receiver):
            for fifth in range(5):
                order = {"groups": groups, "seconds": 300, "first": fifth * share, "most": share}
                sender.tell(kind="flat_out", **order)
                sender.answer(300)
                wanted = (fifth + 1) * share * len(groups)
                receiver.tell(until=wanted, patience=PATIENCE)
                if not receiver.answer(120)["complete"]:
                    raise Wrong("not every member got everything")
                sizes.append(
                    tuple(
                        psutil.Process(p.pid).memory_info().rss / 2**20 for p in (sender, receiver)
                    )  # type: ignore[arg-type]
                )
            receiver.tell(stop=True)
            receiver.answer(60)
    finally:
        del os.environ["BENCH_CAPACITY"]
    return {
        "sender MB": sizes[-1][0] - sizes[0][0],
        "receiver MB": sizes[-1][1] - sizes[0][1],
    }


def _child(role: str, peer: str, pipe: Connection, plan: dict[str, Any]) -> None:
    import logging

    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    django.setup()
    logging.disable(logging.CRITICAL)
    if role == "receiver":
        from .receiver import receive

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(receive(peer, pipe, plan))
    else:
        from .sender import send

        send(peer, pipe, plan)
    # Whatever a peer left running (threads that hang, say) ends here.
    pipe.send({"done": True})
    os._exit(0)


class Process:
    """A child that is told things and answers."""

    def __init__(self, role: str, peer: str, plan: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_child, args=(role, peer, theirs, plan), daemon=True)
        self._process.start()
        theirs.close()
        self.ready = self.answer(120)

    def tell(self, **order: Any) -> None:
        self._pipe.send(order)

    def answer(self, patience: float) -> dict[str, Any]:
        if not self._pipe.poll(patience):
            raise Wrong(f"no answer in {patience:g} s")
        try:
            answer: dict[str, Any] = self._pipe.recv()
        except EOFError:
            raise Wrong("the process died") from None
        return answer

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def end(self) -> None:
        self._process.join(3)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextlib.contextmanager
def pair(
    peer: str, members: list[list[str]], *, threads: bool = False, **plan: Any
) -> Iterator[tuple[Process, Process]]:
    """A sender, and a receiver that has joined."""
    receiver = Process("receiver", peer, {"members": members, **plan})
    try:
        sender = Process("sender", peer, {"threads": threads})
        try:
            yield sender, receiver
        finally:
            with contextlib.suppress(OSError):
                sender.tell(kind="stop")
            sender.end()
    finally:
        receiver.end()


def _finish(receiver: Process, wanted: int) -> dict[str, Any]:
    """Wait for all of it and stop; raises Wrong if it was not each once, in order."""
    receiver.tell(until=wanted, patience=PATIENCE)
    arrival = receiver.answer(120)
    receiver.tell(stop=True)
    report = receiver.answer(60)
    if report["heard"] != wanted or report["doubled"] or report["disordered"]:
        raise Wrong(
            f"{report['heard']} of {wanted} heard, {report['doubled']} twice, "
            f"{report['disordered']} out of order"
        )
    return report | arrival


def throughput(
    peer: str,
    *,
    groups: int,
    seconds: float,
    size: int = 0,
    members: list[list[str]] | None = None,
    active: list[str] | None = None,
) -> Figures:
    """(a), (g): delivered a second, all groups flat out, one member each; and joins a second.

    Or as given: which groups each member joins, and which of them are sent to.
    """
    names = active or [f"group-{n}" for n in range(groups)]
    joins = members or [[name] for name in names]
    with pair(peer, joins) as (sender, receiver):
        sender.tell(kind="flat_out", groups=names, seconds=seconds, size=size)
        sent = sender.answer(seconds + 60)
        report = _finish(receiver, sent["sent"])
    figures: Figures = {"per second": sent["sent"] / (report["last"] - sent["started"])}
    if members:
        figures["joins per second"] = sum(map(len, members)) / receiver.ready["ready"]
    return figures


def latency(
    peer: str, *, members: list[list[str]], groups: list[str], seconds: float, rate: float
) -> Figures:
    """(b), (d): p50 and p99 in ms from group_send to receive, at a steady rate."""
    with pair(peer, members) as (sender, receiver):
        sender.tell(kind="paced", groups=groups, seconds=seconds, rate=rate)
        sent = sender.answer(seconds * 20 + 60)
        report = _finish(receiver, sent["sent"])
    return {"p50 ms": report["p50"] * 1000, "p99 ms": report["p99"] * 1000}


def fan_out(peer: str, *, members: int, rounds: int) -> Figures:
    """(c): ms until the last of a group's members has a message."""
    times = []
    with pair(peer, [["crowd"]] * members) as (sender, receiver):
        for n in range(rounds):
            receiver.tell(until=members * (n + 1), patience=PATIENCE * 4)
            sender.tell(kind="one", group="crowd", n=n)
            started = sender.answer(120)["started"]
            arrival = receiver.answer(120)
            if not arrival["complete"]:
                raise Wrong("not every member got it")
            times.append(arrival["last"] - started)
        _finish(receiver, members * rounds)
    # The first finds caches cold.
    return {"ms": statistics.median(times[1:]) * 1000}


def joining(peer: str, *, members: int) -> Figures:
    """(e): group_adds a second from a cold start, connection included."""
    names = [f"group-{n}" for n in range(members)]
    with pair(peer, [[name] for name in names]) as (sender, receiver):
        joined = receiver.ready["ready"]
        # That they joined is believed when each has heard something.
        sender.tell(kind="paced", groups=names, seconds=members / 2000, rate=2000)
        sent = sender.answer(120)
        _finish(receiver, sent["sent"])
    return {"per second": members / joined}


def threads(peer: str, *, count: int, seconds: float) -> Figures:
    """(f): delivered a second from synchronous threads under async_to_sync."""
    names = [f"group-{n}" for n in range(count)]
    with pair(peer, [[name] for name in names], threads=True) as (sender, receiver):
        sender.tell(kind="threads", groups=names, seconds=seconds, patience=PATIENCE)
        sent = sender.answer(seconds + PATIENCE + 30)
        if sent["failed"]:
            raise Wrong(f"{sent['failed']} of {count} threads hung or failed, {sent['sent']} sent")
        report = _finish(receiver, sent["sent"])
    return {"per second": sent["sent"] / (report["last"] - sent["started"])}
