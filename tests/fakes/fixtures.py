"""Fixtures around the fake model. Load with `pytest_plugins = ["tests.fakes.fixtures"]`."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.fakes.openai_server import RunningServer, running_server


@pytest.fixture(scope="session")
def _fake_model_server() -> Iterator[RunningServer]:
    with running_server(rate=500.0) as server:
        yield server


@pytest.fixture
def fake_model(_fake_model_server: RunningServer) -> RunningServer:
    """The fake model, with nothing recorded yet."""
    _fake_model_server.clear()
    return _fake_model_server


@pytest_asyncio.fixture
async def model_clients() -> AsyncIterator[None]:
    """Closes the connections to models that an async test has opened in its loop."""
    yield
    from chat.llm import close_clients  # LangChain takes long to import; most tests do not

    await close_clients()


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port on which connecting neither succeeds nor fails: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
