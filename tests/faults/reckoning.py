"""The end of a run: what was expected, what every client shows, what is stored. To the byte."""

import asyncio
import time
from typing import Any
from urllib.parse import urlencode

import psycopg

from tests.fakes.openai_server import Record
from tests.faults.device import Device
from tests.faults.known import FINAL, KnownRooms
from tests.faults.ledger import End, Ledger, Sent, difference
from tests.faults.plans import directive_in, plan_of, said
from tests.faults.room import Room

QUIET_DEADLINE = 90.0  # seconds from the last fault until every reply has ended

Row = dict[str, Any]
Rows = list[Row]


async def quiet(
    rooms: list[Room], ledger: Ledger, database_url: str, *, one: str | None = None
) -> float:
    """Wait until nothing is under way anywhere; return the seconds that took.

    With `one`, in that conversation alone, while faults go on elsewhere. What is still under way
    after QUIET_DEADLINE is a violation.
    """
    began = time.monotonic()
    while True:
        try:
            under_way = await asyncio.to_thread(_under_way, database_url, one)
        except psycopg.OperationalError:
            under_way = _UnderWay(["the database is away"], {})
        unsettled = [device.name for room in rooms for device in room.devices if not device.settled]
        behind = [
            device.name
            for room in rooms
            for device in room.devices
            if not device.settled or device.known.seq < under_way.seqs.get(room.id, 0)
        ]
        unacknowledged = ledger.unacknowledged(one)
        if not (under_way.left or unsettled or behind or unacknowledged):
            ledger.passed += 1
            return time.monotonic() - began
        if time.monotonic() - began > QUIET_DEADLINE:
            for what in under_way.left:
                ledger.violate("lost", f"still there at the end: {what}")
            for name in unsettled:
                ledger.violate("lost", f"{name} never settled")
            for name in sorted(set(behind) - set(unsettled)):
                ledger.violate("lost", f"{name} is behind, and does not know it")
            for sent in unacknowledged:
                ledger.violate("lost", f"{sent.client_id} was never acknowledged")
            return time.monotonic() - began
        await asyncio.sleep(0.2)


class _UnderWay:
    def __init__(self, left: list[str], seqs: dict[str, int]) -> None:
        self.left = left
        self.seqs = seqs


def _under_way(database_url: str, conversation: str | None) -> _UnderWay:
    """Replies, chunks and jobs that are not done, and how far each conversation is."""
    left: list[str] = []
    here = {"conversation": conversation}
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        for id_, status, attempt in connection.execute(
            "SELECT id::text, status, attempt FROM chat_message"
            " WHERE status IN ('pending', 'streaming')"
            " AND conversation_id = coalesce(%(conversation)s::uuid, conversation_id)",
            here,
        ).fetchall():
            left.append(f"reply {id_}, {status}, attempt {attempt}")
        for id_, attempt, number in connection.execute(
            "SELECT c.message_id::text, c.attempt, count(*) FROM chat_replychunk c"
            " LEFT JOIN chat_message m ON m.id = c.message_id WHERE m.id IS NULL"
            " OR m.conversation_id = coalesce(%(conversation)s::uuid, m.conversation_id)"
            " GROUP BY 1, 2",
            here,
        ).fetchall():
            left.append(f"{number} chunks of {id_}, attempt {attempt}")
        for task, status, number in connection.execute(
            "SELECT task_name, status::text, count(*) FROM procrastinate_jobs"
            " WHERE status IN ('todo', 'doing') AND task_name LIKE 'chat.%%'"
            " AND (%(conversation)s::text IS NULL OR args->>'conversation_id' = %(conversation)s)"
            " GROUP BY 1, 2",
            here,
        ).fetchall():
            left.append(f"{number} jobs {task}, {status}")
        for message, number in connection.execute(
            "SELECT message_id::text, count(*) FROM chat_reaction WHERE NOT (given AND counted)"
            " AND conversation_id = coalesce(%(conversation)s::uuid, conversation_id) GROUP BY 1",
            here,
        ).fetchall():
            left.append(f"{number} reactions to {message}, not counted")
        seqs = connection.execute("SELECT id::text, seq FROM chat_conversation").fetchall()
    return _UnderWay(left, dict(seqs))


class Reckoning:
    """Compares; the ledger keeps what does not agree."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._tallies: dict[str, Row] = {}
        self._said: dict[str, list[Record]] = {}
        self.replies = 0
        self.branches = 0
        self.continued = 0
        self.tokens = 0
        self.ends: dict[str, int] = {}
        self.runs = 0

    async def room(self, room: Room, records: list[Record]) -> list[str]:
        """Reckon one conversation up; return the ids of its messages."""
        self._said = said(records)
        stored = await self._stored(room)
        by_id = {row["id"]: row for row in stored}
        self._places(room, stored)
        self._sends(room, stored, by_id)
        for row in stored:
            if row["role"] == "assistant":
                self._reply(row, by_id)
        self._siblings(stored)
        self._runs(room, stored, by_id)
        self._counter(room, stored, await self._changes(room))
        await self._recount(room)
        for device in room.devices:
            self._device(device, by_id)
            await self._list(room, device, by_id)
        return list(by_id)

    async def _stored(self, room: Room) -> Rows:
        """Read everything over REST, page by page."""
        rows: Rows = []
        self._tallies = {}
        after = 0
        while True:
            page = await room.people[0].ask(
                "GET", f"/api/conversations/{room.id}/messages/?after={after}&limit=50"
            )
            rows += page["results"]
            self._tallies |= {tally["message"]: tally for tally in page["tallies"]}
            if not page["more_after"]:
                return rows
            after = page["results"][-1]["created_seq"]

    async def _recount(self, room: Room) -> None:
        """A tally is what a recount of the reactions gives."""
        for message, tally in self._tallies.items():
            path = f"/api/messages/{message}/reactions/?limit=100"
            given = (await room.people[0].ask("GET", path))["results"]
            recount: dict[str, int] = {}
            for reaction in given:
                recount[reaction["emoji"]] = recount.get(reaction["emoji"], 0) + 1
            counted = {kind["emoji"]: kind["count"] for kind in tally["reactions"]}
            self._ledger.check(counted == recount, "wrong", f"the reactions to {message}")

    async def _changes(self, room: Room) -> dict[str, Any]:
        return await room.people[0].ask("GET", f"/api/conversations/{room.id}/changes/")

    def _places(self, room: Room, stored: Rows) -> None:
        places = [row["created_seq"] for row in stored]
        what = f"room {room.number}: places in the conversation"
        self._ledger.check(places == sorted(set(places)), "doubled", what)
        first: dict[str, Row] = {}
        for row in stored:
            if row["role"] == "assistant":
                first.setdefault(row["parent"], row)
        for row in stored:
            # A message and the reply to it are stored together, one after the other.
            if row["role"] == "user" and row["id"] in first:
                place = first[row["id"]]["created_seq"]
                what = f"gap between {row['id']} and its reply"
                self._ledger.check(place == row["created_seq"] + 1, "lost", what)

    def _sends(self, room: Room, stored: Rows, by_id: dict[str, Row]) -> None:
        sent = self._ledger.sent.get(room.id, {})
        seen: dict[str, str] = {}
        answered = {row["parent"] for row in stored if row["role"] == "assistant"}
        newest: str | None = None
        for row in stored:
            before, newest = newest, row["id"]
            if row["role"] != "user":
                continue
            what = f"message {row['id']}"
            self._ledger.check(row["client_id"] not in seen, "doubled", what)
            seen[row["client_id"]] = row["id"]
            one = sent.get(row["client_id"])
            if one is None:
                self._ledger.violate("wrong", f"{what} was sent by nobody")
                continue
            self._ledger.compare("" if one.deleted else one.content, row["content"], what)
            deleted = row["deleted_at"] is not None
            self._ledger.check(deleted == one.deleted, "wrong", f"{what}: deleted or not")
            edited = row["edited_at"] is not None
            self._ledger.check(edited == one.edited, "wrong", f"{what}: edited or not")
            if one.wants_reply:
                self._ledger.check(row["id"] in answered, "lost", f"the reply to {what}")
            parent = self._parent(room, one, before, by_id)
            self._ledger.check(row["parent"] == parent, "wrong", f"{what}: said under another")
            self.branches += one.instead_of is not None
        for one in sent.values():
            what = f"{one.client_id}, acknowledged as {one.message}"
            self._ledger.check(seen.get(one.client_id) == one.message, "lost", what)

    def _parent(
        self, room: Room, sent: Sent, before: str | None, by_id: dict[str, Row]
    ) -> str | None:
        """What a message is said under: what its sender says, else, with an assistant, the newest.

        Another wording has the place of the one that it rewords.
        """
        if sent.instead_of is not None:
            reworded = by_id.get(sent.instead_of)
            return None if reworded is None else reworded["parent"]
        if sent.parent is not None or room.is_group:
            return sent.parent
        return before

    def _reply(self, row: Row, by_id: dict[str, Row]) -> None:
        """Check how a reply ended, each time that it did: it may have been continued."""
        ledger = self._ledger
        question = by_id[row["parent"]]["content"]
        self.replies += 1
        self.ends[row["status"]] = self.ends.get(row["status"], 0) + 1
        what = f"reply {row['id']}"
        if row["status"] not in FINAL:
            ledger.violate("lost", f"{what} ({row['status']}) has not ended")
            return
        ledger.ended(row)
        ends = ledger.ends_of(row["id"])
        self.continued += len(ends) - 1
        self.runs += row["attempt"] - (len(ends) - 1)
        stopped = sum(end.status == "cancelled" for end in ends)
        asked = stopped <= ledger.stops[row["id"]]
        ledger.check(asked, "truncated", f"{what}: stopped {stopped} times, and not asked to")
        before, billed = "", 0
        for end in ends:
            plan = plan_of(question, before)
            told = f"{what} ({plan.fault or 'plain'}, {end.status}, attempt {end.attempt})"
            self._end(end, question, before, told)
            if end.status in {"complete", "interrupted"}:
                billed += plan.tokens
            self.tokens += (
                plan.tokens if end.status != "cancelled" else end.content[len(before) :].count(" ")
            )
            before = end.content
        if row["status"] == "failed" and row["error_code"] == "worker_lost":
            ledger.violate("lost", f"{what} lost too many workers")
        if row["status"] in {"complete", "interrupted"}:
            usage = row["usage"]
            ledger.check(usage is not None, "wrong", f"{what}: no usage")
            if usage is not None and not usage["estimated"]:
                right = usage["output_tokens"] == billed
                ledger.check(right, "wrong", f"{what}: billed for {usage['output_tokens']}")

    def _end(self, end: End, question: str, before: str, what: str) -> None:
        """Check one end of a reply that had said `before` when it was to go on."""
        ledger, plan = self._ledger, plan_of(question, before)
        if not end.content.startswith(before):
            ledger.violate("truncated", f"{what}: it does not begin with what it had said")
            return
        added = end.content[len(before) :]
        # The model's own record of the run: what it said in full, if it could.
        runs = [
            run
            for run in self._said.get(directive_in(question), [])
            if run.said.strip() == before.strip()
        ]
        if end.status == "cancelled":
            ledger.check(plan.whole.startswith(added), "wrong", what)
            told = any(run.text.startswith(added) for run in runs) or not added
            ledger.check(told, "wrong", f"{what}: the model never said that")
            return
        if end.status != plan.status:
            ledger.violate("lost", f"{what}: {plan.status} was due")
        kind = difference(plan.text, added)
        lengths = f"{len(added)} characters of {len(plan.text)} after {len(before)}"
        ledger.check(kind is None, kind or "wrong", f"{what}: {lengths}")
        told = any(run.text == added for run in runs)
        ledger.check(told, "wrong", f"{what}: the model never said that")

    def _siblings(self, stored: Rows) -> None:
        """Of the replies to one turn, each was asked for after the one before had ended."""
        last: dict[str, Row] = {}
        for row in stored:
            if row["role"] != "assistant":
                continue
            before = last.get(row["parent"])
            if before is not None:
                what = f"replies {before['id']} and {row['id']} were made at once"
                first = min((end.seq for end in self._ledger.ends_of(before["id"])), default=0)
                ended = first or before["seq"]
                self._ledger.check(row["created_seq"] > ended, "doubled", what)
            last[row["parent"]] = row

    def _runs(self, room: Room, stored: Rows, by_id: dict[str, Row]) -> None:
        """The model was asked no more often than replies were claimed, and about their branch."""
        claims: dict[str, int] = {}
        asked_by: dict[str, Row] = {}
        for row in stored:
            if row["role"] == "assistant":
                question = directive_in(by_id[row["parent"]]["content"])
                continued = len(self._ledger.ends_of(row["id"])) - 1
                claims[question] = claims.get(question, 0) + row["attempt"] - continued
                asked_by[question] = by_id[row["parent"]]
        for question, most in claims.items():
            runs = self._said.get(question, [])
            what = f"the model was asked {len(runs)} times, {most} due: {question}"
            self._ledger.check(len(runs) <= most, "doubled", what)
            if room.is_group:
                continue
            branch = _branch(asked_by[question], by_id)
            for run in runs:
                # A long history is cut at its beginning.
                right = branch[len(branch) - len(run.directives) :] == list(run.directives)
                what = f"the model was told of another branch: {question}"
                self._ledger.check(right, "wrong", what)

    def _counter(self, room: Room, stored: Rows, changes: dict[str, Any]) -> None:
        """Every number that the conversation counted belongs to a change, and none is missing.

        Not known from the rows is only how often a reply was handed back: at most once for each
        attempt that did not end it. Edits in place cannot be counted, so groups are left out.
        """
        if room.is_group:
            return
        counted = len(changes["members"]) + (changes["conversation"]["changed_seq"] > 0)
        spare = 0
        for row in stored:
            counted += 1
            if row["role"] == "assistant":
                ends = self._ledger.ends_of(row["id"])
                # To be continued is a change, which raises the attempt, and then it ends again.
                continued = max(0, len(ends) - 1)
                counted += row["attempt"] + 1 + continued
                spare += max(0, row["attempt"] - continued - len(ends))
                # Stopped while it waited, for the first time or again, for a worker.
                spare += sum(
                    end.status == "cancelled" and (end.attempt > 0 or continued > 0) for end in ends
                )
        seq = changes["seq"]
        what = f"room {room.number} counted {seq} changes, {counted} to {counted + spare} known"
        self._ledger.check(counted <= seq <= counted + spare, "lost", what)

    def _device(self, device: Device, by_id: dict[str, Row]) -> None:
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
            told, tally = known.tallies.get(key), self._tallies.get(key)
            counted = tally and {name: value for name, value in tally.items() if name != "mine"}
            ledger.check(told == counted, "wrong", f"{what}: its reactions")

    async def _list(self, room: Room, device: Device, by_id: dict[str, Row]) -> None:
        """What a client's list shows is what it would be told afresh, and what a recount gives."""
        ledger, what = self._ledger, f"{device.name}, its list"
        if not await device.until_listed(QUIET_DEADLINE):
            ledger.violate("lost", f"{what}: never told")
            return
        fresh = KnownRooms()
        while fresh.wants_sync:
            asked = {name: value for name, value in fresh.ask().items() if value is not None}
            owner = room.owners[device.name]
            fresh.load(await owner.ask("GET", f"/api/me/changes/?{urlencode(asked)}"))
        shown, expected = device.rooms.view().get(room.id), fresh.view().get(room.id)
        ledger.check(shown == expected, "wrong", f"{what}: {shown}, not {expected}")
        if expected is not None:
            unread = [
                row
                for row in by_id.values()
                if (row["number"] or 0) > expected["read"] and row["deleted_at"] is None
            ]
            counted = f"{what}: {expected['unread']} unread, counted {len(unread)}"
            ledger.check(expected["unread"] == len(unread), "wrong", counted)


def _branch(message: Row, by_id: dict[str, Row]) -> list[str]:
    """The directives of what people said on the way to a message, oldest first."""
    branch: list[str] = []
    place: Row | None = message
    while place is not None:
        if place["role"] == "user":
            branch.append(directive_in(place["content"]))
        place = by_id.get(place["parent"] or "")
    return branch[::-1]
