"""Any order of joining, leaving, sending, reading, reconnecting and closing, against a model."""

import asyncio
from collections import deque
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from channels_pgnotify import PostgresChannelLayer

from .conftest import DEADLINE

CAPACITY = 4
GAP = {"type": "gap"}


class Model:
    """What a channel should hold."""

    def __init__(self) -> None:
        self.items: deque[dict[str, Any]] = deque()
        self.lagging = False

    def put(self, message: dict[str, Any]) -> None:
        if not self.lagging:
            if len(self.items) >= CAPACITY:
                self.lagging = True
            else:
                self.items.append(message)

    def gap(self) -> None:
        if not self.lagging and (not self.items or self.items[-1] != GAP):
            self.items.append(GAP)

    def drain(self) -> list[dict[str, Any]]:
        heard = list(self.items) + [GAP] * self.lagging
        self.items.clear()
        self.lagging = False
        return heard


class LayerMachine(RuleBasedStateMachine):
    channels = Bundle("channels")
    groups = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.sender = PostgresChannelLayer()
        self.receiver = PostgresChannelLayer(capacity=CAPACITY, gap_type="gap")
        self.models: dict[str, Model] = {}
        self.members: dict[str, set[str]] = {}
        self.sent = 0

    def run_(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, DEADLINE))

    def settle(self) -> None:
        """Wait until everything published before has arrived: heartbeats take the same way."""
        if self.models:
            assert self.run_(self.receiver_listener().beats())

    def receiver_listener(self) -> Any:
        return self.receiver._listeners[self.loop]

    @rule(target=channels)
    def connect(self) -> str:
        channel: str = self.run_(self.receiver.new_channel())
        self.models[channel] = Model()
        return channel

    @rule(channel=channels, group=groups)
    def add(self, channel: str, group: str) -> None:
        if channel in self.models:
            self.run_(self.receiver.group_add(group, channel))
            self.members.setdefault(group, set()).add(channel)

    @rule(channel=channels, group=groups)
    def discard(self, channel: str, group: str) -> None:
        if channel in self.models:
            self.run_(self.receiver.group_discard(group, channel))
            self.members.get(group, set()).discard(channel)

    @rule(group=groups, size=st.sampled_from([10, 7_000]), own=st.booleans())
    def send_to_group(self, group: str, size: int, own: bool) -> None:
        self.sent += 1
        message = {"type": "n", "n": self.sent, "text": "x" * size}
        layer = self.receiver if own else self.sender
        self.run_(layer.group_send(group, message))
        self.settle()
        for channel in self.members.get(group, ()):
            self.models[channel].put(message)

    @rule(channel=channels)
    def send_to_channel(self, channel: str) -> None:
        if channel in self.models:
            self.sent += 1
            message = {"type": "n", "n": self.sent}
            self.run_(self.sender.send(channel, message))
            self.settle()
            self.models[channel].put(message)

    @rule(channel=channels)
    def read_all(self, channel: str) -> None:
        if channel in self.models:
            for expected in self.models[channel].drain():
                assert self.run_(self.receiver.receive(channel)) == expected

    @rule()
    def reconnect(self) -> None:
        if not self.models:
            return
        listener = self.receiver_listener()
        before = listener._conn
        params = self.receiver._database.params("test")
        with psycopg.connect(autocommit=True, **params) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [before.info.backend_pid])

        async def replaced() -> None:
            while listener._conn in (before, None) or not listener._effective:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

        self.run_(replaced())
        self.settle()
        for model in self.models.values():
            model.gap()

    @rule()
    def close(self) -> None:
        self.run_(self.receiver.close())
        self.models.clear()
        self.members.clear()

    @rule(channel=channels)
    def leave(self, channel: str) -> None:
        if channel in self.models:

            async def leave() -> None:
                self.receiver.close_channel(channel)

            self.run_(leave())
            del self.models[channel]
            for members in self.members.values():
                members.discard(channel)

    def teardown(self) -> None:
        for channel in list(self.models):
            self.read_all(channel)
        if self.models:
            listener = self.receiver_listener()
            assert set(listener.channels.mailboxes) == set(self.models)
            assert {g: set(m) for g, m in listener.channels.groups.items()} == {
                group: members for group, members in self.members.items() if members
            }
        self.run_(self.receiver.close())
        self.run_(self.sender.close())
        self.loop.close()


LayerMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, print_blob=True
)
TestLayer = pytest.mark.usefixtures("db")(LayerMachine.TestCase)
