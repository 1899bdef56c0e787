"""Real workers on the test database, in this process or in one of their own, and a fake model."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from channels.layers import get_channel_layer
from django.db import connection
from pytest_django import Settings

from accounts.models import User
from channels_pgnotify.connection import connection_params
from chat.models import Assistant, Conversation, Message
from chat.services.conversations import create_conversation
from chat.services.messages import send_message
from chatire.worker.process import WorkerProcess
from core.publishing import conversation_group
from core.threads import in_thread
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive

DEADLINE = 20.0  # seconds

T = TypeVar("T")


async def eventually(read: Callable[[], T], true: Callable[[T], bool] = bool) -> T:
    """Call `read` on a thread until what it returns is as wanted, and return that."""
    value: Any = None
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                value = await in_thread(read)
                if true(value):
                    return value  # type: ignore[no-any-return]
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never as wanted; last: {value!r}") from None


class Room:
    """A conversation with an assistant over the fake model, and what one does in it."""

    def __init__(self, user: User, conversation: Conversation) -> None:
        self.user = user
        self.conversation = conversation

    def another(self) -> "Room":
        """Another conversation of the same two."""
        return Room(self.user, create_conversation(user=self.user, title="More tests"))

    def say(self, text: str = "", **wanted: Any) -> Message:
        """Send a message with a directive; return the pending reply."""
        content = f"{text}{directive(**wanted)}" if wanted else text
        sent = send_message(
            user=self.user,
            conversation_id=self.conversation.pk,
            client_id=uuid4().hex,
            content=content,
        )
        assert sent.reply is not None
        return sent.reply


async def ended(reply: Message) -> Message:
    """The reply, once it has ended."""
    return await reaching(reply, lambda now: now.status not in Message.ACTIVE)


async def reaching(reply: Message, true: Callable[[Message], bool]) -> Message:
    """The reply, once it is as wanted."""
    return await eventually(lambda: Message.objects.get(pk=reply.pk), true)


def chunks(reply: Message) -> list[tuple[int, int, str]]:
    """What is stored of a streaming reply: attempt, index, text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attempt, index, text FROM chat_replychunk WHERE message_id = %s"
            " ORDER BY attempt, index",
            [reply.pk],
        )
        return cursor.fetchall()


def text_so_far(reply: Message) -> str:
    """What a snapshot would say."""
    attempt = Message.objects.get(pk=reply.pk).attempt
    return "".join(text for at, _, text in chunks(reply) if at == attempt)


@pytest.fixture
def room(transactional_db: None, fake_model: RunningServer, settings: Settings) -> Room:
    """Alice's room; its model is the fake one."""
    settings.OPENAI_BASE_URL = fake_model.base_url
    with connection.cursor() as cursor:
        # Django does not manage these tables, so it does not empty them between tests.
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    Assistant.objects.create(slug="assistant", name="Assistant")
    alice = User.objects.create_user("alice", "alice@example.org", "correct-horse-battery")
    # A title of its own, so that no title job asks the model too.
    made = Room(alice, create_conversation(user=alice, title="Tests"))
    # Where a test cuts all connections, this one would be found dead at its end.
    connection.close()
    return made


Start = Callable[[], Awaitable[WorkerProcess]]


@pytest.fixture
async def start_worker(room: Room) -> AsyncIterator[Start]:
    """`await start_worker()`: a whole worker in this event loop, stopped after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> WorkerProcess:
            worker = WorkerProcess(concurrency=50, drain_seconds=0.0, port=0)
            running = asyncio.create_task(worker.run())
            await asyncio.wait(
                {running, asyncio.create_task(worker.ready.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )

            async def stop() -> None:
                worker.stop()
                await running

            stack.push_async_callback(stop)
            return worker

        yield start


@pytest.fixture
async def worker(start_worker: Start) -> WorkerProcess:
    """One worker."""
    return await start_worker()


class Subprocess:
    """`manage.py worker` on the test database."""

    def __init__(self, base_url: str, *, drain: float = 20.0) -> None:
        database = connection.settings_dict
        url = (
            f"postgresql://{database['USER']}:{database['PASSWORD']}@{database['HOST']}"
            f":{database['PORT']}/{database['NAME']}"
        )
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", "--port", "0", "--drain", str(drain)],
            env={
                **os.environ,
                "DATABASE_URL": url,
                "DJANGO_SETTINGS_MODULE": "chatire.settings",
                "OPENAI_BASE_URL": base_url,
                "LOG_LEVEL": "INFO",
                "LOG_FORMAT": "json",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)

    def wait_ready(self) -> None:
        """Return when it takes jobs."""
        deadline = time.monotonic() + DEADLINE
        while not any("worker_ready" in line for line in self.log):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._process.kill()
        self._process.wait(DEADLINE)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(DEADLINE)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture
def start_process(room: Room, fake_model: RunningServer) -> Iterator[Callable[..., Subprocess]]:
    """`start_process()`: a worker in a process of its own, ready, killed after the test."""
    started: list[Subprocess] = []

    def start(**options: Any) -> Subprocess:
        process = Subprocess(fake_model.base_url, **options)
        started.append(process)
        process.wait_ready()
        return process

    yield start
    for process in started:
        process.close()


class Follower:
    """Hears what a conversation's followers hear."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.pushed: list[dict[str, Any]] = []
        self.changed = asyncio.Condition()
        self.listening = asyncio.Event()

    async def follow(self, conversation: Conversation) -> None:
        """Listen until cancelled."""
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(conversation_group(conversation.pk), channel)
        self.listening.set()
        while True:
            message = await layer.receive(channel)
            async with self.changed:
                if message["type"] == "push":
                    self.pushed.append(message)
                    self.frames.append(json.loads(message["frame"]))
                self.changed.notify_all()

    async def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame for which `true` holds."""
        async with asyncio.timeout(DEADLINE), self.changed:
            while True:
                for frame in self.frames:
                    if true(frame):
                        return frame
                await self.changed.wait()

    async def until_status(self, reply: Message, status: str) -> dict[str, Any]:
        """The reply's first state with this status."""
        frame = await self.until(
            lambda frame: (
                frame["type"] == "message.updated"
                and frame["message"]["id"] == str(reply.pk)
                and frame["message"]["status"] == status
            )
        )
        message: dict[str, Any] = frame["message"]
        return message

    def deltas(self, reply: Message, attempt: int = 1) -> list[dict[str, Any]]:
        """The reply's deltas so far."""
        return [
            frame
            for frame in self.frames
            if frame["type"] == "reply.delta"
            and frame["message"] == str(reply.pk)
            and frame["attempt"] == attempt
        ]


@pytest.fixture
async def follower(room: Room) -> AsyncIterator[Follower]:
    """Someone who follows the room."""
    following = Follower()
    task = asyncio.create_task(following.follow(room.conversation))
    await asyncio.wait_for(following.listening.wait(), DEADLINE)
    yield following
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await get_channel_layer().close()


def terminate_connections() -> int:
    """Cut every connection to the test database but this one; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


@contextlib.contextmanager
def database_away() -> Iterator[None]:
    """Let nobody reach the test database for the length of the block."""
    name = connection.settings_dict["NAME"]
    params = {**connection_params(connection.settings_dict), "dbname": "postgres"}
    with psycopg.connect(**params, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
