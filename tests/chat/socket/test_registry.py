"""The sockets of a process, and how they are sent away."""

from collections.abc import Iterator
from typing import Any

import pytest

from chat.socket import registry


class Socket:
    """What it was told."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[dict[str, Any]] = []
        self._fails = fails

    async def server_leaving(self, event: dict[str, Any]) -> None:
        self.told.append(event)
        if self._fails:
            raise ConnectionError


@pytest.fixture
def sockets() -> Iterator[list[Socket]]:
    made = [Socket(fails=number == 3) for number in range(8)]
    for socket in made:
        registry.opened(socket)
    yield made
    for socket in made:
        registry.closed(socket)


async def test_everyone_is_sent_away_once_to_come_back_within_the_window(
    sockets: list[Socket],
) -> None:
    assert registry.count() == 8
    await registry.send_away(0.2)
    assert [len(socket.told) for socket in sockets] == [1] * 8
    waits = [socket.told[0]["after_ms"] for socket in sockets]
    assert all(0 <= wait <= 200 for wait in waits)
    # Not all at the same moment.
    assert len(set(waits)) > 1


async def test_who_has_closed_is_not_sent_away(sockets: list[Socket]) -> None:
    registry.closed(sockets[0])
    registry.closed(sockets[0])
    assert registry.count() == 7
    await registry.send_away(0)
    assert sockets[0].told == []
    assert sockets[1].told == [{"after_ms": 0}]
