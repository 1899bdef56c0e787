"""What a client of each system says and hears."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import Any

from .frames import upgrade


class Wrong(Exception):
    """A system did not do what it should; the figures would mean nothing."""


class Client:
    """One person's socket, what was told it, and when it is to come back."""

    __slots__ = (
        "after",
        "asked_at",
        "back",
        "buffer",
        "failures",
        "feed",
        "greeted",
        "owed",
        "phase",
        "pinged_at",
        "pings",
        "ready",
        "room",
        "seq",
        "socket",
        "timer",
        "token",
    )

    def __init__(self, room: str, token: str) -> None:
        self.room = room
        self.token = token
        self.socket: Any = None
        self.phase = ""
        self.buffer = b""
        self.seq: int | None = None  # the last that is known of the room, without a gap
        self.feed: int | None = None
        self.greeted = False  # by the server, on this socket
        self.ready = False  # it has all that there is, and hears what comes
        self.owed = 0  # answers, until it is ready
        self.back = False  # it was there before
        self.timer = 0  # the number of the one that holds
        self.failures = 0
        self.after: float | None = None  # seconds that the server asked for
        self.pinged_at = 0.0
        self.pings: list[float] = []  # seconds that answers took

    def pong(self) -> None:
        """Note how long the answer took."""
        self.pings.append(time.perf_counter() - self.pinged_at)
        self.pinged_at = 0.0


class Dialect(ABC):
    """The protocol of one system, from a client's side."""

    @abstractmethod
    def request(self, client: Client) -> bytes:
        """What opens the socket."""

    def upgraded(self, client: Client) -> None:  # noqa: B027
        """Hear that the socket is open; most have nothing to say to that."""

    @abstractmethod
    def take(self, client: Client, payload: bytes) -> bytes | None:
        """Hear a text; return what is to be answered. Raises Wrong."""

    @abstractmethod
    def ping(self) -> bytes:
        """A text that is answered at once."""


class Chatire(Dialect):
    """docs/protocol.md. With an `at`, a client that is greeted also brings its list up to date."""

    at = ""

    def request(self, client: Client) -> bytes:
        since = f"&since={client.seq}" if client.back else ""
        return upgrade(f"/ws/conversations/{client.room}/?token={client.token}{since}")

    def take(self, client: Client, payload: bytes) -> bytes | None:
        begin = payload.find(b'"type":"') + 8
        kind = payload[begin : payload.find(b'"', begin)]
        if kind == b"message.created":
            begin = payload.find(b'"seq":') + 6
            seq = int(payload[begin : payload.find(b",", begin)])
            if client.seq is not None and seq == client.seq + 1:
                client.seq = seq
        elif kind == b"ping":
            return b'{"type":"pong"}'
        elif kind == b"pong":
            client.pong()
        elif kind == b"hello":
            return self._greeted(client, json.loads(payload))
        elif kind == b"ack":
            self._answered(client, json.loads(payload))
        elif kind == b"resync":
            command = {"type": "subscribe", "id": "again", "conversation": client.room}
            return json.dumps(command | {"since": client.seq}).encode()
        elif kind == b"reconnect":
            client.after = json.loads(payload)["after_ms"] / 1000
        elif kind == b"error":
            raise Wrong(payload.decode())
        return None

    def _greeted(self, client: Client, hello: dict[str, Any]) -> bytes | None:
        client.greeted = True
        client.owed = 1
        known, client.feed = client.feed, hello["feed"]
        if not self.at:
            return None
        client.owed = 2
        command = {"type": "sync", "id": "sync", "since": known, "at": self.at}
        return json.dumps(command).encode()

    def _answered(self, client: Client, answer: dict[str, Any]) -> None:
        changes = answer["changes"]
        if not changes["complete"]:
            raise Wrong(f"an answer to {answer['id']} that is not complete")
        if answer["id"] == "sync":
            client.feed = changes["seq"]
        else:
            client.seq = changes["seq"]
        if answer["id"] != "again":
            client.owed -= 1
            client.ready = client.owed == 0

    def ping(self) -> bytes:
        return b'{"type":"ping","id":"ping"}'


class SocketIO(Dialect):
    """Socket.IO 5 in Engine.IO 4, with the events of peers/sockets.mjs."""

    def request(self, client: Client) -> bytes:
        return upgrade("/socket.io/?EIO=4&transport=websocket")

    def take(self, client: Client, payload: bytes) -> bytes | None:
        if payload.startswith(b'42["message"'):
            begin = payload.find(b'"id":') + 5
            client.seq = int(payload[begin : payload.find(b",", begin)])
        elif payload == b"2":
            return b"3"
        elif payload.startswith(b"0{"):
            since = {"since": client.seq or 0} if client.back else {}
            return b"40" + json.dumps({"token": client.token} | since).encode()
        elif payload.startswith(b"43"):
            client.pong()
        elif payload.startswith(b'42["joined"'):
            for message in json.loads(payload[2:])[1]:
                client.seq = message["id"]
            client.greeted = client.ready = True
        elif payload.startswith(b"44"):
            raise Wrong(payload.decode())
        return None

    def ping(self) -> bytes:
        return b'421["alive"]'


class Nchan(Dialect):
    """A subscriber of nchan's: whoever is connected hears."""

    def request(self, client: Client) -> bytes:
        return upgrade(f"/sub/{client.room}")

    def upgraded(self, client: Client) -> None:
        client.greeted = client.ready = True

    def take(self, client: Client, payload: bytes) -> bytes | None:
        return None

    def ping(self) -> bytes:
        raise Wrong("it answers no text")
