"""What one socket follows, and which events of it are news to its client."""

from collections.abc import Iterator
from typing import Any

from protocol.states import Changes

# Held back per conversation while its subscription is read; more than that asks for a resync.
_MAX_HELD = 1000


class _Known:
    """What a client already has of a conversation, from the answer to its subscription.

    What it may not read counts as known: a message from before its person joined that changes.
    An event is published after its rows are committed, so it may arrive after an answer that
    contains them; it would tell the client nothing new.
    """

    __slots__ = ("deltas", "joined_seq", "readable_after", "seq")

    def __init__(self, changes: Changes) -> None:
        self.seq = changes.seq
        self.joined_seq = changes.joined_seq
        self.readable_after = changes.readable_after
        self.deltas = {
            snapshot.message.hex: (snapshot.attempt, snapshot.index)
            for snapshot in changes.snapshots
        }

    def contains(self, event: dict[str, Any]) -> bool:
        if event.get("place", self.readable_after + 1) <= self.readable_after:
            return True
        if event["kind"] != "reply.delta":
            known = bool(event.get("seq", self.seq + 1) <= self.seq)
            if "history" in event and not known:
                self.readable_after = self.joined_seq if event["history"] == "joined" else 0
            return known
        reached = self.deltas.get(event["message"])
        if reached is None:
            return False
        if (event["attempt"], event["index"]) < reached:
            return True
        # Deltas of a reply come in order, so from here on every one is new.
        del self.deltas[event["message"]]
        return False


class Subscriptions:
    """The conversations a socket follows, by the hex form of their ids.

    From `hold` to `release` a conversation's events are kept, so that the client hears the
    answer to its subscription first and then only what that does not contain.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._held: dict[str, list[dict[str, Any]]] = {}
        self._known: dict[str, _Known] = {}
        # Of topics and threads, whose members may follow them.
        self._rooms: dict[str, str] = {}
        # What was left while something was held back, of which its room is not known yet.
        self._left: set[str] = set()

    def __contains__(self, conversation: str) -> bool:
        return conversation in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._ids))

    def __len__(self) -> int:
        return len(self._ids)

    def hold(self, conversation: str) -> bool:
        """Begin to keep its events; True if it was not followed before."""
        new = conversation not in self._ids
        self._ids.add(conversation)
        self._held[conversation] = []
        return new

    def release(self, changes: Changes) -> tuple[list[dict[str, Any]], bool]:
        """Stop keeping: the events that `changes` does not contain, and whether some were lost."""
        conversation = changes.conversation.id.hex
        room = changes.conversation.members_of.hex
        if room != conversation:
            self._rooms[conversation] = room
        known = self._known[conversation] = _Known(changes)
        held = self._held.pop(conversation, [])
        if not self._held:
            self._left.clear()
        news = [event for event in held if not known.contains(event)]
        return news, len(held) >= _MAX_HELD

    def left(self, room: str) -> list[str]:
        """What is not to be followed any more by one who left a room: it, and all inside of it."""
        if self._held:
            self._left.add(room)
        return [room, *(inner for inner, its_room in self._rooms.items() if its_room == room)]

    def was_left(self, changes: Changes) -> bool:
        """Say whether its room was left while it was held back."""
        return changes.conversation.members_of.hex in self._left

    def forget(self, conversation: str) -> bool:
        """Follow it no more; False if it was not followed."""
        self._held.pop(conversation, None)
        self._known.pop(conversation, None)
        self._rooms.pop(conversation, None)
        if not self._held:
            self._left.clear()
        if conversation not in self._ids:
            return False
        self._ids.discard(conversation)
        return True

    def is_news(self, conversation: str, event: dict[str, Any]) -> bool:
        """Say whether an event is to be sent now; one that is held back is kept for later."""
        if conversation not in self._ids:
            return False
        held = self._held.get(conversation)
        if held is not None:
            if len(held) < _MAX_HELD:
                held.append(event)
            return False
        known = self._known.get(conversation)
        return known is None or not known.contains(event)
