"""Many sockets read by one loop that does as little with each as can be done in Python."""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .dialects import Client, Dialect, Wrong
from .frames import CLOSE, PING, PONG, TEXT, NotUpgraded, after_upgrade, client_frame, split

SIZE = 65536
# As the page reconnects (frontend/src/client/socket.ts), in seconds.
FIRST_DELAY, LONGEST_DELAY = 0.4, 20.0
PATIENCE = 10.0  # until a socket that was opened is of use
PINGERS = 50  # of all sockets
PING_EVERY = 0.5  # seconds


class Crowd:
    """Clients of one system.

    Whom the server tells to come later comes later. To be lost otherwise is Wrong, but in a storm,
    where they come back, too.
    """

    def __init__(self, dialect: Dialect, port: int, clients: Sequence[Client]) -> None:
        self.clients = clients
        self.ready = 0
        self.sent_back = 0  # times that somebody was told to come later
        self._dialect = dialect
        self._address = ("127.0.0.1", port)
        self._poll = select.epoll()
        self._by_number: dict[int, Client] = {}
        self._storm = False
        self._coming = 0  # that are neither ready nor away
        # When to do something with whom; of a client's timers only the newest holds.
        self._timers: list[tuple[float, int, Client]] = []
        self._timer_numbers = itertools.count(1)

    def open(self, at_once: int, deadline: float) -> float:
        """Open all, so many at a time; return the seconds that took. Raises Wrong."""
        began = time.monotonic()
        left = deque(self.clients)
        while self.ready < len(self.clients):
            while left and self._coming < at_once:
                self._connect(left.popleft())
            now = time.monotonic()
            self._turn(self._until_timer(now, 0.5))
            self._run_timers(now)
            if now > deadline:
                raise Wrong(f"{self.ready} of {len(self.clients)} sockets opened in time")
        return time.monotonic() - began

    def read_until(self, moment: float) -> None:
        """Read, and answer heartbeats, until then."""
        while (left := moment - time.monotonic()) > 0:
            self._turn(left)

    def hear(self, mark: bytes, sent_at: float, deadline: float) -> tuple[float, float]:
        """Read until all have heard `mark`; return seconds from `sent_at` to the first and last.

        Nothing is made of what they hear until the last of them has.
        """
        waiting = set(self._by_number)
        receive = {number: client.socket.recv for number, client in self._by_number.items()}
        poll, clock = self._poll.poll, time.perf_counter
        heard: list[tuple[int, bytes]] = []
        parts: dict[int, bytes] = {}
        first = 0.0
        while waiting:
            for number, _ in poll(0.5, 4096):
                data = receive[number](SIZE)
                heard.append((number, data))
                if mark not in data:
                    parts[number] = data = parts.get(number, b"") + data
                    if mark not in data:
                        if not data:
                            raise Wrong("a socket was closed")
                        continue
                if not first:
                    first = clock()
                waiting.discard(number)
            if waiting and time.monotonic() > deadline:
                raise Wrong(f"{len(waiting)} of {len(receive)} sockets never heard a message")
        last = clock()
        for number, data in heard:
            self._feed(self._by_number[number], data)
        return first - sent_at, last - sent_at

    def storm(self, kill: Callable[[], None], deadline: float) -> tuple[float, list[float]]:
        """Lose all, and read until all are back and whole.

        Return the seconds that took and, in seconds, how long sockets that were already back
        waited for answers to pings. Raises Wrong.
        """
        self._storm = True
        for client in self.clients:
            client.back = True
        pingers = self.clients[:: max(1, len(self.clients) // PINGERS)]
        began = time.monotonic()
        kill()
        due = 0.0
        # Until their ends are read, all seem to be there.
        while self.ready == len(self.clients):
            self._turn(0.1)
        while self.ready < len(self.clients):
            now = time.monotonic()
            self._run_timers(now)
            if now >= due:
                due = now + PING_EVERY
                for client in pingers:
                    if client.ready and not client.pinged_at:
                        self._ping(client)
            self._turn(self._until_timer(now, due - now))
            if now > deadline:
                raise Wrong(f"{self.ready} of {len(self.clients)} sockets were back in time")
        took = time.monotonic() - began
        pings = [taken for client in pingers for taken in client.pings]
        unanswered = [time.perf_counter() - one.pinged_at for one in pingers if one.pinged_at]
        return took, pings + unanswered

    def until_known(self, newest: dict[str, int], deadline: float) -> None:
        """Read until each knows its room's newest message. Raises Wrong."""
        behind = [one for one in self.clients if (one.seq or 0) < newest.get(one.room, 0)]
        while behind:
            if time.monotonic() > deadline:
                raise Wrong(f"{len(behind)} of {len(self.clients)} sockets lack messages")
            self._run_timers(time.monotonic())
            self._turn(0.1)
            behind = [one for one in behind if (one.seq or 0) < newest[one.room]]

    def close(self) -> None:
        """Hang up, all of them."""
        for client in self._by_number.values():
            client.socket.close()
        self._by_number.clear()
        self._poll.close()

    # --- One socket ---------------------------------------------------------------------------

    def _connect(self, client: Client) -> None:
        client.socket = one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.phase, client.buffer, client.greeted = "connecting", b"", False
        self._coming += 1
        error = one.connect_ex(self._address)
        self._by_number[one.fileno()] = client
        self._poll.register(one, select.EPOLLIN | select.EPOLLOUT)
        if self._storm:
            self._later(client, PATIENCE)
        if error not in (0, errno.EINPROGRESS):
            self._lost(client, errno.errorcode.get(error, str(error)))

    def _turn(self, timeout: float) -> None:
        """Handle what has come, or wait for it."""
        for number, event in self._poll.poll(timeout, 256):
            client = self._by_number.get(number)
            if client is None:
                continue
            try:
                if client.phase == "connecting" and event & select.EPOLLOUT:
                    client.phase = "upgrading"
                    self._poll.modify(number, select.EPOLLIN)
                    client.socket.send(self._dialect.request(client))
                    continue
                data = client.socket.recv(SIZE)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lost(client, str(error))
                continue
            if data:
                self._feed(client, data)
            else:
                self._lost(client, "closed")

    def _feed(self, client: Client, data: bytes) -> None:
        buffer = client.buffer + data if client.buffer else data
        if client.phase == "upgrading":
            try:
                rest = after_upgrade(buffer)
            except NotUpgraded as refused:
                self._lost(client, str(refused))
                return
            if rest is None:
                client.buffer = buffer
                return
            client.phase, buffer = "open", rest
            self._dialect.upgraded(client)
            if client.ready:
                self._welcome(client)
        frames, client.buffer = split(buffer)
        for opcode, payload in frames:
            if opcode == TEXT:
                ready = client.ready
                answer = self._dialect.take(client, payload)
                if answer is not None:
                    self._send(client, client_frame(answer))
                if client.ready and not ready:
                    self._welcome(client)
            elif opcode == PING:
                self._send(client, client_frame(payload, PONG))
            elif opcode == CLOSE:
                self._lost(client, f"closed with {int.from_bytes(payload[:2], 'big')}")
                return

    def _welcome(self, client: Client) -> None:
        self.ready += 1
        self._coming -= 1
        client.failures = 0

    def _send(self, client: Client, frame: bytes) -> None:
        # What cannot be sent is noticed where the end is read.
        with contextlib.suppress(OSError):
            client.socket.send(frame)

    def _ping(self, client: Client) -> None:
        client.pinged_at = time.perf_counter()
        self._send(client, client_frame(self._dialect.ping()))

    # --- Coming back --------------------------------------------------------------------------

    def _lost(self, client: Client, why: str) -> None:
        if client.ready:
            self.ready -= 1
        else:
            self._coming -= 1
        if not self._storm and client.after is None:
            raise Wrong(f"a socket was lost: {why}")
        self._by_number.pop(client.socket.fileno(), None)
        client.socket.close()
        client.phase, client.ready, client.pinged_at = "away", False, 0.0
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2**client.failures)
        client.failures += 1
        asked, client.after = client.after, None
        self.sent_back += asked is not None
        self._later(client, longest * random.uniform(0.5, 1) if asked is None else asked)

    def _later(self, client: Client, seconds: float) -> None:
        moment = time.monotonic() + seconds
        client.timer = next(self._timer_numbers)
        heapq.heappush(self._timers, (moment, client.timer, client))

    def _until_timer(self, now: float, most: float) -> float:
        """Seconds until the next timer, at most so many."""
        return max(0.0, min(most, self._timers[0][0] - now)) if self._timers else max(0.0, most)

    def _run_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, number, client = heapq.heappop(self._timers)
            if number != client.timer:
                continue
            if client.phase == "away":
                self._connect(client)
            elif not client.greeted:
                self._lost(client, "silent")


@contextlib.contextmanager
def crowd(dialect: Dialect, port: int, clients: Sequence[Client]) -> Iterator[Crowd]:
    """Clients that are not open yet, and are closed at the end."""
    made = Crowd(dialect, port, clients)
    try:
        yield made
    finally:
        made.close()
