"""Connections are closed with their replies, kept apart and used again."""

import asyncio
import contextlib
import subprocess
import sys
import time

import langsmith.utils
import pytest
from langchain_core.tracers.langchain import wait_for_all_tracers

from chat.llm import (
    Timeouts,
    Turn,
    close_clients,
    stream_reply,
)
from tests.chat.asker import Asker
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = pytest.mark.usefixtures("model_clients")


async def test_closing_the_reply_closes_the_connection(
    model: Asker, fake_model: RunningServer
) -> None:
    turns = [Turn("user", directive(tokens=1000, rate=100))]
    async with contextlib.aclosing(stream_reply(model.spec, turns)) as reply:
        await anext(reply)
    record = await fake_model.ended()
    assert record.end == "disconnected"
    assert record.pieces < 1000


@pytest.mark.parametrize(
    "keys", ["tokens=1000 rate=100", "fault=slow_headers:30", "fault=stall_after:0"]
)
async def test_cancelling_the_reader_closes_the_connection(
    model: Asker, fake_model: RunningServer, keys: str
) -> None:
    asking = asyncio.create_task(model.ask(f"[[fake {keys}]]"))
    await fake_model.asked()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await fake_model.ended()).end == "disconnected"


async def test_a_cancellation_is_not_taken_for_a_timeout(model: Asker) -> None:
    """Both at the same moment: whoever cancelled the task must not be ignored."""
    timeouts = Timeouts(first_token=0.2)
    asking = asyncio.create_task(model.ask("[[fake fault=slow_headers:30]]", timeouts=timeouts))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    # The loop is blocked past both moments, so that it sees them in one turn: first the deadline.
    loop.call_later(0.1, time.sleep, 0.2)
    loop.call_later(0.25, asking.cancel)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_timeout_of_the_caller_works_around_a_reply(model: Asker) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await model.ask("[[fake fault=stall_after:2]]")
    await model.ask(directive(tokens=2, seed=1, rate=0))
    assert model.text == expected_text(1, 2)


async def test_two_hundred_replies_at_once_do_not_mix(fake_model: RunningServer) -> None:
    async def one(seed: int) -> None:
        model = Asker(fake_model)
        await model.ask(directive(tokens=20, seed=seed, rate=100))
        assert model.text == expected_text(seed, 20)

    await asyncio.gather(*(one(seed) for seed in range(1, 201)))
    assert {record.end for record in fake_model.records} == {"complete"}


async def test_connections_are_used_again_and_closed_in_the_end(
    model: Asker, fake_model: RunningServer
) -> None:
    for seed in range(1, 6):
        await model.ask(directive(tokens=2, seed=seed, rate=0))
    assert fake_model.connections == 1
    await close_clients()
    await fake_model.all_closed()


async def test_a_connection_closed_while_idle_is_not_used_again(
    model: Asker, fake_model: RunningServer
) -> None:
    await model.ask(directive(tokens=2, seed=1, rate=0))
    fake_model.drop_connections()
    await fake_model.all_closed()
    await model.ask(directive(tokens=2, seed=2, rate=0))
    assert model.text == expected_text(2, 2)


def test_it_needs_no_django() -> None:
    code = "import sys, chat.llm, chat.replies.history; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_tracing_in_the_environment_sends_nothing(
    model: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def trace(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append(writer.get_extra_info("peername"))
        writer.close()

    collector = await asyncio.start_server(trace, "127.0.0.1", 0)
    port = collector.sockets[0].getsockname()[1]
    for name in ("LANGSMITH", "LANGCHAIN"):
        monkeypatch.setenv(f"{name}_TRACING", "true")
        monkeypatch.setenv(f"{name}_TRACING_V2", "true")
        monkeypatch.setenv(f"{name}_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv(f"{name}_API_KEY", "key")
    langsmith.utils.get_env_var.cache_clear()
    try:
        await model.ask(directive(tokens=2, rate=0))
        await asyncio.to_thread(wait_for_all_tracers)
    finally:
        monkeypatch.undo()
        langsmith.utils.get_env_var.cache_clear()
        collector.close()
    assert called == []
