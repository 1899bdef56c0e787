"""The end of a run: what was expected, what every client shows, what is stored. To the byte."""

import asyncio
import time
from typing import Any

import psycopg

from tests.fakes.openai_server import Record
from tests.faults.device import Device
from tests.faults.known import FINAL
from tests.faults.ledger import Ledger
from tests.faults.plans import directive_in, plan_of, said
from tests.faults.room import Room

QUIET_DEADLINE = 90.0  # seconds from the last fault until every reply has ended

Rows = list[dict[str, Any]]


async def quiet(rooms: list[Room], ledger: Ledger, database_url: str) -> float:
    """Wait until nothing is under way anywhere; return the seconds that took.

    What is still under way after QUIET_DEADLINE is a violation.
    """
    began = time.monotonic()
    while True:
        under_way = await asyncio.to_thread(_under_way, database_url)
        unsettled = [device.name for room in rooms for device in room.devices if not device.settled]
        behind = [
            device.name
            for room in rooms
            for device in room.devices
            if not device.settled or device.known.seq < under_way.seqs.get(room.id, 0)
        ]
        if not (under_way.left or unsettled or behind or ledger.unacknowledged):
            ledger.passed += 1
            return time.monotonic() - began
        if time.monotonic() - began > QUIET_DEADLINE:
            for what in under_way.left:
                ledger.violate("lost", f"still there at the end: {what}")
            for name in unsettled:
                ledger.violate("lost", f"{name} never settled")
            for name in sorted(set(behind) - set(unsettled)):
                ledger.violate("lost", f"{name} is behind, and does not know it")
            for sent in ledger.unacknowledged:
                ledger.violate("lost", f"{sent.client_id} was never acknowledged")
            return time.monotonic() - began
        await asyncio.sleep(0.2)


class _UnderWay:
    def __init__(self, left: list[str], seqs: dict[str, int]) -> None:
        self.left = left
        self.seqs = seqs


def _under_way(database_url: str) -> _UnderWay:
    """Replies, chunks and jobs that are not done, and how far each conversation is."""
    left: list[str] = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        for id_, status, attempt in connection.execute(
            "SELECT id::text, status, attempt FROM chat_message"
            " WHERE status IN ('pending', 'streaming')"
        ).fetchall():
            left.append(f"reply {id_}, {status}, attempt {attempt}")
        for id_, attempt, number in connection.execute(
            "SELECT message_id::text, attempt, count(*) FROM chat_replychunk GROUP BY 1, 2"
        ).fetchall():
            left.append(f"{number} chunks of {id_}, attempt {attempt}")
        for task, status, number in connection.execute(
            "SELECT task_name, status::text, count(*) FROM procrastinate_jobs"
            " WHERE status IN ('todo', 'doing') AND task_name LIKE 'chat.%' GROUP BY 1, 2"
        ).fetchall():
            left.append(f"{number} jobs {task}, {status}")
        seqs = connection.execute("SELECT id::text, seq FROM chat_conversation").fetchall()
    return _UnderWay(left, dict(seqs))


class Reckoning:
    """Compares; the ledger keeps what does not agree."""

    def __init__(self, ledger: Ledger, records: list[Record]) -> None:
        self._ledger = ledger
        self._said = said(records)
        self.replies = 0
        self.tokens = 0
        self.ends: dict[str, int] = {}
        self.runs = 0

    async def room(self, room: Room) -> None:
        """Reckon one conversation up."""
        stored = await self._stored(room)
        by_id = {row["id"]: row for row in stored}
        self._places(room, stored)
        self._sends(room, stored)
        for row in stored:
            if row["role"] == "assistant":
                self._reply(row, by_id)
        self._siblings(stored)
        self._counter(room, stored, await self._changes(room))
        for device in room.devices:
            self._device(device, by_id)

    async def _stored(self, room: Room) -> Rows:
        """Read everything over REST, page by page."""
        rows: Rows = []
        after = 0
        while True:
            page = await room.people[0].ask(
                "GET", f"/api/conversations/{room.id}/messages/?after={after}&limit=50"
            )
            rows += page["results"]
            if not page["more_after"]:
                return rows
            after = page["results"][-1]["created_seq"]

    async def _changes(self, room: Room) -> dict[str, Any]:
        return await room.people[0].ask("GET", f"/api/conversations/{room.id}/changes/")

    def _places(self, room: Room, stored: Rows) -> None:
        places = [row["created_seq"] for row in stored]
        what = f"room {room.number}: places in the conversation"
        self._ledger.check(places == sorted(set(places)), "doubled", what)
        first: dict[str, dict[str, Any]] = {}
        for row in stored:
            if row["role"] == "assistant":
                first.setdefault(row["parent"], row)
        for row in stored:
            # A message and the reply to it are stored together, one after the other.
            if row["role"] == "user" and row["id"] in first:
                place = first[row["id"]]["created_seq"]
                what = f"gap between {row['id']} and its reply"
                self._ledger.check(place == row["created_seq"] + 1, "lost", what)

    def _sends(self, room: Room, stored: Rows) -> None:
        sent = {one.client_id: one for one in self._ledger.sent.values()}
        seen: dict[str, str] = {}
        answered = {row["parent"] for row in stored if row["role"] == "assistant"}
        for row in stored:
            if row["role"] != "user":
                continue
            what = f"message {row['id']}"
            self._ledger.check(row["client_id"] not in seen, "doubled", what)
            seen[row["client_id"]] = row["id"]
            one = sent.get(row["client_id"])
            if one is None:
                self._ledger.violate("wrong", f"{what} was sent by nobody")
                continue
            self._ledger.compare(one.content, row["content"], what)
            if one.wants_reply:
                self._ledger.check(row["id"] in answered, "lost", f"the reply to {what}")
        for one in sent.values():
            if one.conversation == room.id:
                what = f"{one.client_id}, acknowledged as {one.message}"
                self._ledger.check(seen.get(one.client_id) == one.message, "lost", what)

    def _reply(self, row: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> None:
        ledger = self._ledger
        question = by_id[row["parent"]]["content"]
        plan = plan_of(question)
        status, content = row["status"], row["content"]
        what = f"reply {row['id']} ({plan.fault or 'plain'}, {status}, attempt {row['attempt']})"
        runs = self._said.get(directive_in(question), [])
        self.replies += 1
        self.tokens += plan.tokens if status != "cancelled" else content.count(" ")
        self.ends[status] = self.ends.get(status, 0) + 1
        self.runs += row["attempt"]
        if status == "cancelled":
            ledger.check(row["id"] in ledger.stopped, "truncated", f"{what}: nobody stopped it")
            ledger.check(plan.whole.startswith(content), "wrong", what)
            told = any(run.text.startswith(content) for run in runs) or not content
            ledger.check(told, "wrong", f"{what}: the model never said that")
            return
        if status not in FINAL:
            ledger.violate("lost", f"{what} has not ended")
            return
        if status != plan.status:
            error = row["error_code"] or "no error"
            ledger.violate("lost", f"{what}: {plan.status} was due; {error}")
        ledger.compare(plan.text, content, what)
        # The model's own record of a run: what it said in full, if it could.
        told = any(run.text == content for run in runs)
        ledger.check(told, "wrong", f"{what}: the model never said that")
        if status in {"complete", "interrupted"}:
            usage = row["usage"]
            ledger.check(usage is not None, "wrong", f"{what}: no usage")
            if usage is not None and not usage["estimated"]:
                billed = usage["output_tokens"] == plan.tokens
                ledger.check(billed, "wrong", f"{what}: billed for {usage['output_tokens']}")

    def _siblings(self, stored: Rows) -> None:
        """Of the replies to one turn, each was asked for after the one before had ended."""
        last: dict[str, dict[str, Any]] = {}
        for row in stored:
            if row["role"] != "assistant":
                continue
            before = last.get(row["parent"])
            if before is not None:
                what = f"replies {before['id']} and {row['id']} were made at once"
                self._ledger.check(row["created_seq"] > before["seq"], "doubled", what)
            last[row["parent"]] = row

    def _counter(self, room: Room, stored: Rows, changes: dict[str, Any]) -> None:
        """Every number that the conversation counted belongs to a change, and none is missing.

        Not known from the rows is only how often a reply was handed back: at most once for each
        attempt that did not end it. Read marks cannot be counted, so groups are left out.
        """
        if room.is_group:
            return
        counted = len(changes["members"]) + (changes["conversation"]["changed_seq"] > 0)
        spare = 0
        for row in stored:
            counted += 1
            if row["role"] == "assistant":
                counted += row["attempt"] + 1
                spare += max(0, row["attempt"] - 1)
                # Stopped while it waited again for a worker.
                spare += row["status"] == "cancelled" and row["attempt"] > 0
        seq = changes["seq"]
        what = f"room {room.number} counted {seq} changes, {counted} to {counted + spare} known"
        self._ledger.check(counted <= seq <= counted + spare, "lost", what)

    def _device(self, device: Device, by_id: dict[str, dict[str, Any]]) -> None:
        """What a client shows is what is stored, no more and no less."""
        ledger, known = self._ledger, device.known
        expected = {key: row for key, row in by_id.items() if row["created_seq"] >= known.oldest}
        for key in known.messages.keys() - by_id.keys():
            ledger.violate("wrong", f"{device.name} shows {key}, which is not stored")
        for key, row in expected.items():
            shown = known.messages.get(key)
            if shown is None:
                ledger.violate("lost", f"{device.name} lacks {key}")
                continue
            what = f"{device.name}, message {key}"
            if ledger.compare(row["content"], known.text(key), what):
                ledger.check(shown == row, "wrong", f"{what}: its row")
