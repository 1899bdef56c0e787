"""What a client knows of one conversation: the rules of `frontend/src/client/reducer.ts`.

Rows are whole and carry the `seq` of their last change, so a row is taken if it is newer than the
one held. `seq` is the mark up to which nothing is missing: it moves only over an unbroken run of
events, or to the mark of an answer. `tests/chat/test_state_equivalence.py` holds both reducers to
the same recordings.
"""

from dataclasses import dataclass, field
from typing import Any

from protocol.limits import MAX_COUNTED

Frame = dict[str, Any]

FINAL = frozenset({"complete", "failed", "cancelled", "interrupted"})
MAX_EARLY = 1000  # deltas held for one reply while an earlier one is missing


@dataclass
class Stream:
    """The text of one attempt, up to `index`, and deltas that came too early."""

    attempt: int
    index: int = 0
    text: str = ""
    reasoning: str = ""
    early: dict[int, Frame] = field(default_factory=dict)

    def take(self, delta: Frame) -> None:
        """Append a delta if it is the next, with those held for it; hold it if it is early."""
        index: int = delta["index"]
        if index < self.index:
            return
        first: int = delta.get("first_index", index)
        if first > self.index and len(self.early) >= MAX_EARLY:
            return
        rival = self.early.get(first)
        if rival is not None and rival["index"] >= index:
            return
        self.early[first] = delta
        self.drain()

    def drain(self) -> None:
        """Append what has become next. A merged delta that overlaps what is known stays, a gap."""
        while (delta := self.early.get(self.index)) is not None:
            self.text += delta["text"]
            self.reasoning += delta.get("reasoning", "")
            self.index = delta["index"] + 1
        self.early = {
            first: delta for first, delta in self.early.items() if delta["index"] >= self.index
        }


class Known:
    """One conversation, as far as a client of this person has been told of it."""

    def __init__(self, me: str = "") -> None:
        self.me = me
        self._missed: list[Frame] | None = None
        self._empty()

    def _empty(self) -> None:
        self.epoch: str | None = None
        self.state: Frame | None = None
        self.seq = 0
        self.ahead: set[int] = set()
        self.messages: dict[str, Frame] = {}
        self.members: dict[str, Frame] = {}
        # What was counted under each message, and which of it is one's own: each as of its seq.
        self.tallies: dict[str, Frame] = {}
        self.own: dict[str, tuple[int, list[str]]] = {}
        # Of a forum.
        self.topics: dict[str, Frame] = {}
        self.people = 0
        self._people_seq = 0  # the change that they were counted at
        self.streams: dict[str, Stream] = {}
        self.oldest = 0
        self.deleted = False

    @property
    def since(self) -> int | None:
        """What to ask for next: None for a first load."""
        return None if self.epoch is None else self.seq

    @property
    def has_gap(self) -> bool:
        """Whether something between what is known is missing and must be asked for."""
        if self.epoch is None or self.deleted:
            return False
        return bool(self.ahead) or any(stream.early for stream in self.streams.values())

    def text(self, message_id: str) -> str:
        """What a message says so far: of a reply that goes on, at least what it said before."""
        stream = self._shown(message_id)
        return str(self.messages[message_id]["content"]) if stream is None else stream.text

    def attempt(self, message_id: str) -> int:
        """The attempt whose text is shown."""
        stream = self._shown(message_id)
        return int(self.messages[message_id]["attempt"]) if stream is None else stream.attempt

    def _shown(self, message_id: str) -> Stream | None:
        """The stream whose text is shown; None while the message's row says more."""
        message = self.messages[message_id]
        stream = self.streams.get(message_id)
        if stream is None or message["status"] in FINAL or stream.attempt < message["attempt"]:
            return None
        return stream if len(stream.text) >= len(message["content"]) else None

    def view(self, oldest: int = 0) -> dict[str, Any]:
        """All that a person would see from a place in the conversation on.

        Of the conversation's own row, `seq` and `active_at` move with every change and are not
        told by it.
        """
        shown = {
            key: row
            for key, row in self.messages.items()
            if row["created_seq"] >= max(oldest, self.oldest)
        }
        state = self.state or {}
        return {
            "seq": self.seq,
            "deleted": self.deleted,
            "people": self.people,
            "state": {k: v for k, v in state.items() if k not in {"seq", "active_at"}},
            "messages": shown,
            "tallies": {key: row for key, row in self.tallies.items() if key in shown},
            "own": {key: own[1] for key, own in self.own.items() if key in shown and own[1]},
            # Nothing tells of views, and deleted ones are not in a first load.
            "topics": {
                key: {name: value for name, value in row.items() if name != "views"}
                for key, row in self.topics.items()
                if not row["deleted"]
            },
            "texts": {key: self.text(key) for key in shown},
            # Those who left before a first load are not in it.
            "members": {key: row for key, row in self.members.items() if row["left_at"] is None},
        }

    # --- Inputs ------------------------------------------------------------------------------

    def subscribing(self) -> None:
        """A subscribe or changes request goes out; what comes from now on must outlive it."""
        self._missed = []

    def load(self, changes: Frame) -> None:
        """Take in the answer to it."""
        missed = self._missed or []
        afresh = changes["reset"] or changes["since"] is None
        if not afresh and self.epoch != changes["epoch"]:
            self._empty()
            self._missed = None
            return
        if not afresh and changes["since"] > self.seq:
            return
        if (
            changes["since"] is None
            and self.epoch == changes["epoch"]
            and changes["seq"] < self.seq
        ):
            return
        if afresh:
            self._empty()
            if changes["more_before"]:
                self.oldest = min(row["created_seq"] for row in changes["messages"])
        self.epoch = changes["epoch"]
        self._state(changes["conversation"])
        self._count(changes["people"], changes["conversation"]["seq"])
        for message in changes["messages"]:
            self._message(message)
        for member in changes["members"]:
            self._member(member)
        for tally in changes["tallies"]:
            self._tally(tally)
        for topic in changes["topics"]:
            self._topic(topic)
        for snapshot in changes["snapshots"]:
            self._snapshot(snapshot)
        self._advance(max(self.seq, changes["seq"]))
        waiting = None if changes["complete"] else missed
        if afresh:
            self._missed = None
            for event in missed:
                self.event(event)
        self._missed = waiting

    def event(self, frame: Frame) -> None:
        """Take in an event."""
        if self.deleted:
            return
        if self._missed is not None:
            self._missed.append(frame)
        kind = frame["type"]
        if kind == "reply.delta":
            self._delta(frame)
            return
        if kind in {"message.created", "message.updated"}:
            self._message(frame["message"])
        elif kind in {"member.joined", "member.updated", "member.left"}:
            self._member(frame["member"])
            if "people" in frame:
                self._count(frame["people"], frame["seq"])
        elif kind == "members.changed":
            self._count(frame["people"], frame["seq"])
        elif kind == "tally.updated":
            for tally in frame["tallies"]:
                self._tally(tally)
            for reacted in frame["by"] or []:
                if reacted["user"] == self.me:
                    self._own(reacted["message"], frame["seq"], reacted["emojis"])
        elif kind in {"topic.created", "topic.updated"}:
            self._topic(frame["topic"])
        elif kind == "conversation.updated":
            self._state(frame["state"])
        elif kind == "conversation.deleted":
            self.deleted = True
        else:
            raise AssertionError(f"no such event of a conversation: {kind}")
        seq = frame["seq"]
        if self.epoch is not None and seq > self.seq:
            self.ahead.add(seq)
            self._advance(self.seq)

    def row(self, message: Frame) -> None:
        """Take in a message that an ack or a REST answer carried."""
        self._message(message)

    # --- Rows --------------------------------------------------------------------------------

    def _message(self, message: Frame) -> None:
        held = self.messages.get(message["id"])
        if held is not None and held["seq"] >= message["seq"]:
            return
        self.messages[message["id"]] = message
        stream = self.streams.get(message["id"])
        if stream is None:
            return
        # A new attempt starts it afresh; one that ended or was handed back says no more.
        if self._is_past(message["id"], stream.attempt):
            del self.streams[message["id"]]

    def _member(self, member: Frame) -> None:
        held = self.members.get(member["id"])
        if held is None or held["seq"] < member["seq"]:
            self.members[member["id"]] = member

    def _tally(self, tally: Frame) -> None:
        row = {key: value for key, value in tally.items() if key != "mine"}
        held = self.tallies.get(row["message"])
        if held is None or held["seq"] < row["seq"]:
            self.tallies[row["message"]] = row
        if "mine" in tally:
            self._own(row["message"], row["seq"], tally["mine"])

    def _topic(self, topic: Frame) -> None:
        held = self.topics.get(topic["id"])
        if held is None or held["seq"] <= topic["seq"]:
            self.topics[topic["id"]] = topic

    def _own(self, message: str, seq: int, emojis: list[str]) -> None:
        held = self.own.get(message)
        if held is None or held[0] < seq:
            self.own[message] = (seq, emojis)

    def _count(self, people: int, seq: int) -> None:
        if seq >= self._people_seq:
            self.people, self._people_seq = people, seq

    def _state(self, state: Frame) -> None:
        if self.state is None or self.state["changed_seq"] < state["changed_seq"]:
            self.state = state

    def _advance(self, seq: int) -> None:
        while seq + 1 in self.ahead:
            seq += 1
        self.seq = seq
        self.ahead = {one for one in self.ahead if one > seq}

    # --- Streams -----------------------------------------------------------------------------

    def _is_past(self, message_id: str, attempt: int) -> bool:
        row = self.messages.get(message_id)
        if row is None:
            return False
        return bool(
            attempt < row["attempt"] or (attempt == row["attempt"] and row["status"] != "streaming")
        )

    def _snapshot(self, snapshot: Frame) -> None:
        message, attempt, index = snapshot["message"], snapshot["attempt"], snapshot["index"]
        if self._is_past(message, attempt):
            return
        held = self.streams.get(message)
        early: dict[int, Frame] = {}
        if held is not None:
            if (held.attempt, held.index) >= (attempt, index):
                return
            if held.attempt == attempt:
                early = held.early
        stream = Stream(attempt, index, snapshot["text"], snapshot["reasoning"], early)
        stream.drain()
        self.streams[message] = stream

    def _delta(self, delta: Frame) -> None:
        message, attempt = delta["message"], delta["attempt"]
        if self._is_past(message, attempt):
            return
        held = self.streams.get(message)
        if held is not None and attempt < held.attempt:
            return
        if held is None or held.attempt != attempt:
            held = self.streams[message] = Stream(attempt)
        held.take(delta)


class KnownRooms:
    """One's own list, as far as a client has been told of it: the rules of the page's feed.

    Unread is arithmetic, number - read - what was removed after that, and its parts may come in
    any order: of `number` the largest holds, of `removed` all, of `mine` the newest row. One's own
    words move the mark without a row: they count if they are newer than the row. Of what was told
    of whether a message names one, the newest by the conversation's seq holds.
    """

    def __init__(self) -> None:
        self._missed: list[Frame] = []
        self._empty()

    def _empty(self) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.at: str | None = None
        self._cursor: str | None = None
        self.rooms: dict[str, Frame] = {}
        # Whom one blocks, as of a seq of the feed.
        self.blocks: list[str] = []
        self._blocks_seq = -1
        self.wants_sync = True
        # Something was heard of a conversation that is not known.
        self._wants_room = False

    def ask(self) -> Frame:
        """What to ask for next; what comes from now on must outlive the answer."""
        if self._cursor is not None:
            return {"since": None, "at": None, "cursor": self._cursor}
        self._missed = []
        since = None if self.at is None else self.seq
        return {"since": since, "at": self.at, "cursor": None}

    def load(self, changes: Frame) -> None:
        """Take in the answer to it."""
        begins = changes["since"] is None and self._cursor is None
        if begins or self.epoch not in {None, changes["epoch"]}:
            self._empty()
        self.epoch = changes["epoch"]
        for gone in changes["gone"]:
            self._gone(gone, changes["seq"])
        for room in changes["rooms"]:
            self._room(room)
        if changes["blocks"] is not None:
            self._block(changes["blocks"], changes["seq"])
        self._cursor = changes["cursor"]
        if changes["complete"]:
            self.seq, self.at = max(self.seq, changes["seq"]), changes["at"]
            self.wants_sync = self._wants_room = False
            missed, self._missed = self._missed, []
            for frame in missed:
                self.event(frame)

    def event(self, frame: Frame) -> None:
        """Take in `rooms.touched`, `mine.updated`, `block.updated`, `conversation.deleted`."""
        self._missed.append(frame)
        if frame["type"] == "rooms.touched":
            for touch in frame["rooms"]:
                self._touch(touch)
            return
        if frame["type"] == "conversation.deleted":
            gone = frame["conversation"]
            self.rooms = {
                key: room
                for key, room in self.rooms.items()
                if gone not in (key, room["members_of"])
            }
            return
        if frame["type"] == "block.updated":
            self._block(frame["blocks"], frame["seq"])
        for gone in frame.get("gone", []):
            self._gone(gone, frame["seq"])
        for mine in frame.get("mine", []):
            self._mine(mine)
        # A row of one's own about a conversation that is not known says too little to go on; until
        # that is there, the question is to begin before it.
        whole = all(mine["conversation"] in self.rooms for mine in frame.get("mine", []))
        if whole and not self._wants_room and frame["seq"] == self.seq + 1:
            self.seq += 1
        elif frame["seq"] > self.seq:
            self.wants_sync = True

    def view(self) -> dict[str, Frame]:
        """All that a list shows, by conversation."""
        return {key: _shown(room) for key, room in self.rooms.items()}

    def _gone(self, conversation: str, seq: int) -> None:
        held = self.rooms.get(conversation)
        # Unless one has come back since.
        if held is not None and held["mine"]["seq"] <= seq:
            del self.rooms[conversation]

    def _block(self, blocks: list[str], seq: int) -> None:
        if seq > self._blocks_seq:
            self.blocks, self._blocks_seq = blocks, seq

    def _room(self, room: Frame) -> None:
        held = self.rooms.get(room["id"])
        if held is None:
            new = {"number": room["number"], "wrote": 0, "tellings": [_telling(room["mine"])]}
            self.rooms[room["id"]] = {**room, **new, "removed": set(room["mine"]["removed"])}
            return
        if room["seq"] >= held["seq"]:
            held.update({k: v for k, v in room.items() if k not in {"mine", "number"}})
        held["number"] = max(held["number"], room["number"])
        self._mine(room["mine"])

    def _mine(self, mine: Frame) -> None:
        room = self.rooms.get(mine["conversation"])
        if room is None:
            self.wants_sync = self._wants_room = True
            return
        room["number"] = max(room["number"], mine["number"])
        room["removed"] |= set(mine["removed"])
        room["tellings"].append(_telling(mine))
        if (mine["seq"], mine["number"]) >= (room["mine"]["seq"], room["mine"]["number"]):
            room["mine"] = mine

    def _touch(self, touch: Frame) -> None:
        room = self.rooms.get(touch["conversation"])
        if room is None:
            self.wants_sync = self._wants_room = True
            return
        room["number"] = max(room["number"], touch["number"])
        room["removed"] |= set(touch["removed"])
        for one in touch["named"]:
            number = one["number"]
            told = {number} if one["you"] else set()
            room["tellings"].append((one["seq"], number - 1, number, told))
        room["wrote"] = max(room["wrote"], touch["read"] or 0)
        room["active_at"] = max(room["active_at"], touch["active_at"])
        if touch["seq"] > room["seq"]:
            room.update({name: touch[name] for name in ("seq", "title")})
            if touch["preview"] is not None:
                room["preview"] = touch["preview"]


# As of a seq, which of the numbers after one and up to another name one.
Telling = tuple[int, int, int, set[int]]


def _telling(mine: Frame) -> Telling:
    named = mine["named"]
    after = mine["read"] if len(named) < MAX_COUNTED else named[0] - 1
    return mine["as_of"], after, mine["number"], set(named)


def _named(tellings: list[Telling], number: int) -> bool:
    about = [one for one in tellings if one[1] < number <= one[2]]
    return bool(about) and number in max(about, key=lambda one: one[0])[3]


def _shown(room: Frame) -> Frame:
    """What a list shows of a conversation."""
    mine, number = room["mine"], room["number"]
    read = mine["read"]
    if room["wrote"] > mine["number"]:
        read = max(read, room["wrote"])
    removed = sum(1 for one in room["removed"] if read < one <= number)
    unread = [one for one in range(read + 1, number + 1) if one not in room["removed"]]
    named = [one for one in unread if _named(room["tellings"], one)]
    return {
        **{name: room[name] for name in ("title", "preview", "number", "active_at")},
        **{name: mine[name] for name in ("level", "muted_until", "pinned")},
        "read": read,
        "unread": max(number - read, 0) - removed,
        "mentions": min(len(named), MAX_COUNTED),
    }
