"""A client as it should be: it reconnects, asks for what it lacks, and repeats what is safe to."""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.faults.known import FINAL, Frame, Known, KnownRooms
from tests.faults.ledger import Ledger
from tests.faults.plans import plan_of
from tests.faults.session import Session, SignedOut, Unreachable

FIRST_DELAY, LONGEST_DELAY = 0.3, 3.0  # seconds between attempts to connect
STABLE = 5.0  # a connection that held this long resets the backoff
COMMAND_TIMEOUT = 10.0
SEQ_PATIENCE, DELTA_PATIENCE = 1.0, 0.3  # an event may be late this long before it counts as lost
HEARTBEAT = 35.0
RENEW_BEFORE = 60.0  # seconds; a token made to last less is renewed when half its time is left
AUTHENTICATE = 4001
LOST = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError)


class Refused(Exception):
    """The server's answer is an error. `passing` if the same may succeed later."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.passing = code == "unavailable"
        super().__init__(code)


class Device:
    """One socket that follows one conversation, and what it shows of it, checked at every step.

    One with a `wrong_clock` does not see its token expire, until the server tells it by 4001.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        session: Session,
        http: httpx.AsyncClient,
        conversation: str,
        ledger: Ledger,
        source: random.Random,
        me: str = "",
        small_buffers: bool = False,
        wrong_clock: bool = False,
    ) -> None:
        self.name = name
        self.conversation = conversation
        self.me = me
        self.known = Known(me)
        self.rooms = KnownRooms()
        self.open = False
        self.subscribed = False
        # When the text of a message last grew, or its reply ended, in monotonic seconds.
        self.progress: dict[str, float] = {}
        self.away = False  # on purpose: nobody waits for it to catch up
        self._url, self._session, self._http = url, session, http
        self._token = session.held
        self._wrong_clock = wrong_clock
        self._refused = 0  # by 4001, without a hello in between
        self._ledger = ledger
        self._source = source
        self._small_buffers = small_buffers
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._changed = asyncio.Condition()
        self._shown: dict[str, tuple[int, str]] = {}
        self._after: float | None = None
        self._heard_at = 0.0
        self._syncing = False
        self._again = False
        self._listing = False
        self._gap_since: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    # --- Coming and going --------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._running = asyncio.create_task(self._run(), name=self.name)

    @property
    def running(self) -> bool:
        """Whether it connects whenever it can."""
        return self._running is not None and not self._running.done()

    async def stop(self) -> None:
        """Disconnect for good. Raises what this client failed with, a fault of the suite."""
        assert self._running is not None
        if not self._running.done():
            self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    def drop(self) -> None:
        """Lose the connection without a word."""
        if self._socket is not None:
            self._socket.transport.abort()

    def forget(self) -> None:
        """Forget everything, as a page that is loaded again does."""
        self.known = Known(self.me)
        self.rooms = KnownRooms()
        self._shown.clear()
        self.drop()

    def read(self, *, on: bool) -> None:
        """Stop, or go on, reading from the network."""
        if self._socket is not None and not self._socket.transport.is_closing():
            if on:
                self._socket.transport.resume_reading()
            else:
                self._socket.transport.pause_reading()

    @property
    def settled(self) -> bool:
        """Whether it knows of nothing that it lacks."""
        whole = not self.known.has_gap and not self.rooms.wants_sync
        return self.open and self.subscribed and not self._syncing and not self._listing and whole

    async def _run(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._fresh_token()
                await self._connected()
            except (*LOST, Unreachable):
                pass
            except SignedOut:
                return
            finally:
                self._disconnected()
            if time.monotonic() - began > STABLE:
                failures = 0
            longest = min(LONGEST_DELAY, FIRST_DELAY * 2**failures)
            delay = self._source.uniform(longest / 2, longest)
            if self._after is not None:
                delay, self._after = self._after, None
            failures += 1
            await asyncio.sleep(delay)

    async def _connected(self) -> None:
        extra: dict[str, Any] = {}
        if self._small_buffers:
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.setblocking(False)
            host, _, port = self._url.partition("//")[2].partition("/")[0].partition(":")
            await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
            extra["sock"] = plain
        async with connect(
            f"{self._url}/ws/",
            additional_headers={"Authorization": f"Bearer {self._token}"},
            max_size=None,
            open_timeout=10,
            close_timeout=1,
            ping_interval=None,
            compression=None,
            **extra,
        ) as connection:
            self._socket = connection
            self._heard_at = time.monotonic()
            keeping = [asyncio.create_task(self._watch(connection))]
            if not self._wrong_clock:
                keeping.append(asyncio.create_task(self._keep_token()))
            try:
                async for text in connection:
                    self._heard_at = time.monotonic()
                    self._hear(json.loads(text))
                    async with self._changed:
                        self._changed.notify_all()
            finally:
                for task in keeping:
                    task.cancel()
                self._ledger.counts[f"closed {connection.close_code or 1006}"] += 1
                if connection.close_code == AUTHENTICATE:
                    self._sent_away(str(connection.close_reason))

    def _sent_away(self, reason: str) -> None:
        """The token is not good any more: renew it and come back at once."""
        self._ledger.check(
            self._wrong_clock, "wrong", f"{self.name} keeps its token fresh, but: {reason}"
        )
        self._refused += 1
        if self._refused > 1:
            self._session.give_up(f"{self.name}, twice in a row {reason}")
            raise SignedOut
        self._after = 0.0

    async def _fresh_token(self) -> None:
        if self._refused:
            self._token = await self._session.renew(self._token, self._http)
        elif not self._wrong_clock:
            self._token = await self._session.access(self._http)

    async def _keep_token(self) -> None:
        """Renew the token in place before it expires."""
        await self.until(lambda: self.open, 60)
        while True:
            left = self._session.left
            await asyncio.sleep(max(left - RENEW_BEFORE, left / 2, 1.0))
            await self._renew()

    async def _renew(self) -> None:
        """Renew it now, however often that must be tried."""
        while True:
            if await self._renewed():
                return
            await asyncio.sleep(self._source.uniform(0.5, 2.0))

    async def _renewed(self) -> bool:
        try:
            self._token = await self._session.renew(self._token, self._http)
            answer = await self.command("auth", token=self._token)
        except Unreachable:
            return False
        except SignedOut:
            self.drop()
            return True
        except Refused as error:
            if not error.passing:
                self._session.give_up(f"{self.name}: auth {error.code}")
                self.drop()
            return not error.passing
        left = answer["expires_at"] - time.time()
        self._ledger.check(left > 0, "wrong", f"{self.name} renewed a token that has expired")
        self._ledger.counts["renewals in place"] += 1
        return True

    def _disconnected(self) -> None:
        self._socket = None
        self.open = self.subscribed = False
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Unreachable())
                answer.exception()
        self._answers.clear()

    async def _watch(self, connection: ClientConnection) -> None:
        """Ask for what stays missing, and give a silent connection up."""
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if now - self._heard_at > HEARTBEAT:
                connection.transport.abort()
            if not self.known.has_gap:
                self._gap_since = None
            elif self._gap_since is None:
                self._gap_since = now
            elif now - self._gap_since > (SEQ_PATIENCE if self.known.ahead else DELTA_PATIENCE):
                self._gap_since = None
                self._ledger.counts["gaps asked for"] += 1
                self._sync_soon()

    # --- Receiving ---------------------------------------------------------------------------

    def _hear(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind in {"ack", "error", "pong"}:
            # Taken in here, in the order of arrival, before any event behind it.
            if "rooms" in frame.get("changes", {}):
                self.rooms.load(frame["changes"])
            elif "changes" in frame:
                self._load(frame["changes"])
            for name in ("message", "reply"):
                if frame.get(name) and kind == "ack":
                    self.known.row(frame[name])
                    self._show(frame[name]["id"])
            answer = self._answers.pop(frame["id"] or "", None)
            if answer is not None and not answer.done():
                answer.set_result(frame)
        elif kind == "hello":
            self.open = True
            self._refused = 0
            self._sync_soon()
            self._list_soon()
        elif kind == "ping":
            self._spawn(self._pong())
        elif kind == "reconnect":
            self._after = frame["after_ms"] / 1000
            self._ledger.counts["reconnect frames"] += 1
        elif kind == "resync":
            self._ledger.counts["resync frames"] += 1
            self._sync_soon()
            self._list_soon()
        elif kind in {"rooms.touched", "mine.updated"}:
            self.rooms.event(frame)
            if self.rooms.wants_sync:
                self._list_soon()
        elif frame.get("conversation") == self.conversation:
            if kind == "typing":
                return
            if "first_index" in frame:
                self._ledger.counts["merged deltas"] += 1
            if self.subscribed or self._syncing:
                self.known.event(frame)
                self._show(frame["message"] if kind == "reply.delta" else _message_in(frame))

    def _load(self, changes: Frame) -> None:
        self.known.load(changes)
        if self.known.epoch is None:
            self._again = True
        self.subscribed = True
        for message in list(self.known.messages):
            self._show(message)

    def _show(self, message_id: str | None) -> None:
        """Look at a message as a person does: text only ever grows, to what the model said."""
        if message_id is None or message_id not in self.known.messages:
            return
        row = self.known.messages[message_id]
        if row["role"] != "assistant":
            return
        if row["status"] in FINAL:
            self._ledger.ended(row)
        attempt, text = self.known.attempt(message_id), self.known.text(message_id)
        was_attempt, was = self._shown.get(message_id, (attempt, ""))
        if (was_attempt, was) == (attempt, text) and row["status"] not in FINAL:
            return
        what = f"{self.name} showed {message_id} attempt {attempt}"
        if attempt < was_attempt:
            self._ledger.violate("wrong", f"{what} after attempt {was_attempt}")
        elif row["status"] == "pending" and row["attempt"] == attempt:
            # Handed back, or to go on. (A delta may outrun its claim's event.)
            waits = text == row["content"]
            self._ledger.check(waits, "wrong", f"{what}, but it waits for a worker")
        elif attempt == was_attempt and not text.startswith(was):
            shorter = "truncated" if was.startswith(text) else "wrong"
            self._ledger.violate(
                shorter, f"{what}, {row['status']}: {len(was)} characters became {len(text)}"
            )
        parent = self.known.messages.get(row["parent"] or "")
        if parent is not None:
            self._compare(row, parent["content"], text, what)
        self._shown[message_id] = (attempt, text)
        if text != was or row["status"] in FINAL:
            self.progress[message_id] = time.monotonic()

    def _compare(self, row: Frame, question: str, text: str, what: str) -> None:
        """Is a text what the model says, after what the reply had said when it was to go on?"""
        before = {"", *(end.content for end in self._ledger.ends_of(row["id"]))}
        if row["status"] not in FINAL:
            if not text.startswith(row["content"]):
                self._ledger.violate("truncated", f"{what}: without what it had said before")
            before.add(row["content"])
        wholes = [said + plan_of(question, said).whole for said in before]
        if not any(whole.startswith(text) for whole in wholes):
            kind = "doubled" if len(text) > max(map(len, wholes)) else "wrong"
            self._ledger.violate(kind, f"{what}: not what the model says")

    # --- Sending -----------------------------------------------------------------------------

    async def command(self, type: str, **fields: Any) -> Frame:  # noqa: A002
        """Send a command and return its ack. Raises Unreachable or Refused."""
        if self._socket is None or not self.open:
            raise Unreachable
        command_id = uuid4().hex
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[command_id] = answer
        try:
            await self._socket.send(json.dumps({"type": type, "id": command_id, **fields}))
            frame = await asyncio.wait_for(answer, COMMAND_TIMEOUT)
        except LOST:
            raise Unreachable from None
        finally:
            self._answers.pop(command_id, None)
        if frame["type"] == "error":
            raise Refused(frame["code"])
        return frame

    async def _pong(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(*LOST):
                await self._socket.send('{"type": "pong"}')

    def _sync_soon(self) -> None:
        if self._syncing:
            self._again = True
        else:
            self._syncing = True
            self._spawn(self._sync())

    async def _sync(self) -> None:
        """Ask for everything since what is known, part by part."""
        try:
            while True:
                self._again = False
                self.known.subscribing()
                since = self.known.since
                try:
                    answer = await self.command(
                        "subscribe", conversation=self.conversation, since=since
                    )
                except Unreachable:
                    # A socket may be closed without having said so yet.
                    await asyncio.sleep(0.1)
                    if not self.open:
                        return
                    continue
                except Refused as error:
                    if not error.passing:
                        raise
                    await asyncio.sleep(1.0)
                    continue
                complete = answer["changes"]["complete"] and self.known.epoch is not None
                if complete and not self._again:
                    return
        finally:
            self._syncing = False
            async with self._changed:
                self._changed.notify_all()

    def _list_soon(self) -> None:
        self.rooms.wants_sync = True
        if not self._listing:
            self._listing = True
            self._spawn(self._list())

    async def _list(self) -> None:
        """Ask for what is missing of the list, page by page."""
        try:
            while self.rooms.wants_sync and self.open:
                try:
                    await self.command("sync", **self.rooms.ask())
                except Unreachable:
                    await asyncio.sleep(0.1)
                except Refused as error:
                    if not error.passing:
                        raise
                    await asyncio.sleep(1.0)
        finally:
            self._listing = False
            async with self._changed:
                self._changed.notify_all()

    async def until_listed(self, timeout: float) -> bool:
        """Ask for what is new in the list; say whether it was told in time."""
        self._list_soon()
        return await self.until(lambda: not self.rooms.wants_sync and not self._listing, timeout)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._ledger.violate("wrong", f"{self.name}: {task.exception()!r}")

    async def until(self, wanted: Callable[[], bool], timeout: float) -> bool:
        """Wait until what was heard makes `wanted` true; say whether it came in time."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(wanted)
        except TimeoutError:
            return wanted()
        return True

    async def until_settled(self, timeout: float) -> bool:
        """Wait until it knows of nothing that it lacks; say whether that came in time."""
        return await self.until(lambda: self.settled, timeout)

    async def until_ended(self, message_id: str, timeout: float, *, attempt: int = 0) -> bool:
        """Wait until a reply has ended in `attempt` or later; say whether it did in time."""
        return await self.until(lambda: self.ended(message_id, attempt=attempt), timeout)

    def ended(self, message_id: str, *, attempt: int = 0) -> bool:
        """Whether a reply has ended in `attempt` or later, as far as this client knows."""
        row = self.known.messages.get(message_id)
        return row is not None and row["status"] in FINAL and row["attempt"] >= attempt


def _message_in(frame: Frame) -> str | None:
    return frame["message"]["id"] if "message" in frame else None
