"""Workers that die, are told to stop, or think they live; jobs and replies that got lost."""

import asyncio
import signal
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from chat.models import Conversation, Message
from chat.replies import reaper, runner
from chat.replies.flusher import Connection, Flusher
from chat.replies.prompt import Prompt
from chat.services.replies import (
    MAX_ATTEMPTS,
    Claim,
    Outcome,
    claim_reply,
    finish_reply,
    hand_back_reply,
)
from chat.services.reply_actions import request_stop
from chatire.worker import process
from core.threads import in_thread
from notifications.models import Notification
from tests.chat.replies.conftest import (
    DEADLINE,
    Follower,
    Room,
    Start,
    Subprocess,
    chunks,
    ended,
    eventually,
    reaching,
    text_so_far,
)
from tests.fakes.openai_server import RunningServer

StartProcess = Callable[..., Subprocess]


def execute(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def claim(reply: Message) -> Claim | None:
    return claim_reply(message_id=reply.pk, conversation_id=reply.conversation_id)


def jobs() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name, status::text FROM procrastinate_jobs ORDER BY id")
        return cursor.fetchall()


async def test_killed_worker_is_taken_over(
    room: Room,
    start_process: StartProcess,
    start_worker: Start,
    follower: Follower,
    fake_model: RunningServer,
) -> None:
    first = await in_thread(start_process)
    reply = await in_thread(room.say, tokens=60, rate=20)
    await eventually(lambda: text_so_far(reply), lambda text: len(text) > 20)
    await in_thread(first.kill)
    await start_worker()
    state = await follower.until_status(reply, "complete")
    assert (await in_thread(fake_model.wait_for_end, 0)).end == "disconnected"
    assert state["content"] == fake_model.records[1].text
    assert state["attempt"] == 2
    deltas = follower.deltas(reply, attempt=2)
    assert [delta["index"] for delta in deltas] == list(range(len(deltas)))
    assert "".join(delta["text"] for delta in deltas) == state["content"]
    assert await in_thread(chunks, reply) == []


async def test_sigterm_lets_replies_end_within_the_drain_time(
    room: Room, start_process: StartProcess, fake_model: RunningServer
) -> None:
    running = await in_thread(start_process)
    reply = await in_thread(room.say, tokens=40, rate=40)
    await eventually(lambda: text_so_far(reply))
    running.send(signal.SIGTERM)
    assert await in_thread(running.wait) == 0
    done = await ended(reply)
    assert (done.status, done.attempt) == (Message.Status.COMPLETE, 1)
    assert done.content == fake_model.records[0].text


async def test_sigterm_hands_back_what_outlasts_the_drain_time(
    room: Room, start_process: StartProcess, start_worker: Start, fake_model: RunningServer
) -> None:
    running = await in_thread(lambda: start_process(drain=0.3))
    reply = await in_thread(room.say, tokens=50, rate=20)
    await eventually(lambda: text_so_far(reply))
    running.send(signal.SIGTERM)
    assert await in_thread(running.wait) == 0
    waiting = await reaching(reply, lambda now: now.status == Message.Status.PENDING)
    # A flush that was under way may have left a chunk of that attempt; the next claim deletes it.
    assert waiting.attempt == 1
    await start_worker()
    done = await ended(reply)
    assert (done.status, done.attempt) == (Message.Status.COMPLETE, 2)
    assert done.content == fake_model.records[1].text


async def test_second_sigterm_ends_the_drain(room: Room, start_process: StartProcess) -> None:
    running = await in_thread(lambda: start_process(drain=600))
    reply = await in_thread(room.say, tokens=50, fault="stall_after:5")
    await eventually(lambda: text_so_far(reply))
    running.send(signal.SIGTERM)
    await eventually(lambda: any("worker_draining" in line for line in running.log))
    running.send(signal.SIGTERM)
    assert await in_thread(running.wait) == 0
    await reaching(reply, lambda now: now.status == Message.Status.PENDING)


async def test_stopping_worker_wakes_another_for_what_it_hands_back(
    room: Room, start_worker: Start, fake_model: RunningServer
) -> None:
    first = await start_worker()
    reply = await in_thread(room.say, tokens=30, rate=50, fault="pause_after:5:1")
    await eventually(lambda: text_so_far(reply))
    second = await start_worker()
    first.stop()
    claimed = await reaching(reply, lambda now: now.attempt == 2)
    assert claimed.status in (Message.Status.STREAMING, Message.Status.COMPLETE)
    assert second.runner.running or claimed.status == Message.Status.COMPLETE
    assert (await ended(reply)).content == fake_model.records[1].text


async def test_worker_that_stops_during_a_claim_hands_the_reply_back(
    room: Room, fake_model: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect() -> Connection:
        raise AssertionError("nothing is to be stored")

    flusher = Flusher(connect)
    stopping = runner.Runner(flusher)
    prepare = runner._prepare

    def prepare_and_stop(message_id: UUID, conversation_id: UUID) -> tuple[Claim, Prompt] | None:
        prepared = prepare(message_id, conversation_id)
        stopping.hand_back_all()
        return prepared

    monkeypatch.setattr(runner, "_prepare", prepare_and_stop)
    reply = await in_thread(room.say, tokens=5)
    async with asyncio.timeout(DEADLINE):
        await stopping.run(message_id=reply.pk, conversation_id=reply.conversation_id)
    waiting = await in_thread(lambda: Message.objects.get(pk=reply.pk))
    assert (waiting.status, waiting.attempt) == (Message.Status.PENDING, 1)
    assert fake_model.records == []


async def test_two_workers_make_one_run(
    room: Room, start_worker: Start, fake_model: RunningServer
) -> None:
    await start_worker()
    await start_worker()
    rooms = [await in_thread(room.another) for _ in range(10)]
    replies = [await in_thread(each.say, tokens=10, id=uuid4().hex) for each in rooms]
    done = await asyncio.gather(*(ended(reply) for reply in replies))
    assert [reply.attempt for reply in done] == [1] * 10
    assert len(fake_model.records) == 10


async def test_fenced_out_worker_changes_nothing(
    room: Room, start_worker: Start, follower: Follower
) -> None:
    worker = await start_worker()
    reply = await in_thread(room.say, tokens=200, rate=50)
    await eventually(lambda: text_so_far(reply))
    # As another worker does that takes this one for dead.
    claimed = await in_thread(claim, reply)
    assert claimed is not None
    assert claimed.attempt == 2
    await eventually(lambda: list(worker.flusher.replies), lambda replies: not replies)
    late = Outcome(status=Message.Status.COMPLETE, content="late")
    chat = room.conversation.pk
    old = {"message_id": reply.pk, "conversation_id": chat, "attempt": 1}
    assert not await in_thread(lambda: finish_reply(**old, outcome=late))
    assert not await in_thread(lambda: hand_back_reply(**old))
    now = await in_thread(lambda: Message.objects.get(pk=reply.pk))
    assert (now.status, now.content, now.attempt) == (Message.Status.STREAMING, "", 2)
    assert [chunk for chunk in await in_thread(chunks, reply) if chunk[0] == 2] == []
    heard = follower.frames.index(
        await follower.until(
            lambda f: f["type"] == "message.updated" and f["message"]["attempt"] == 2
        )
    )
    # One batch may have been on its way when the fence went up.
    later = [f for f in follower.frames[heard:] if f["type"] == "reply.delta"]
    assert len(later) <= 1


def test_end_stored_twice_is_stored_once(room: Room) -> None:
    reply = room.say(tokens=3)
    assert claim(reply) is not None
    outcome = Outcome(status=Message.Status.COMPLETE, content="Yes.")
    ending = {
        "message_id": reply.pk,
        "conversation_id": room.conversation.pk,
        "attempt": 1,
        "outcome": outcome,
    }
    Conversation.objects.filter(pk=room.conversation.pk).update(title="")
    assert finish_reply(**ending)
    seq = Message.objects.get(pk=reply.pk).seq
    asked = jobs()
    assert asked.count(("chat.write_title", "todo")) == 1
    assert finish_reply(**ending)
    assert Message.objects.get(pk=reply.pk).seq == seq
    # Neither a second notification nor a second title.
    assert Notification.objects.filter(recipient=room.user).count() == 1
    assert jobs() == asked


def test_reply_that_kills_its_workers_fails_in_the_end(room: Room) -> None:
    reply = room.say(tokens=3)
    for _ in range(MAX_ATTEMPTS):
        assert claim(reply) is not None
    execute(
        "INSERT INTO chat_replychunk (message_id, attempt, index, text, reasoning)"
        " VALUES (%s, %s, 0, 'so far', '')",
        reply.pk,
        MAX_ATTEMPTS,
    )
    assert claim(reply) is None
    lost = Message.objects.get(pk=reply.pk)
    assert (lost.status, lost.error_code) == (Message.Status.FAILED, "worker_lost")
    assert lost.content == "so far"
    assert chunks(reply) == []


def test_stop_of_a_reply_whose_worker_died_keeps_its_text(room: Room) -> None:
    reply = room.say(tokens=3)
    assert claim(reply) is not None
    execute(
        "INSERT INTO chat_replychunk (message_id, attempt, index, text, reasoning)"
        " VALUES (%s, 1, 0, 'so ', 'hm'), (%s, 1, 1, 'far', '')",
        reply.pk,
        reply.pk,
    )
    request_stop(user=room.user, message_id=reply.pk)
    assert claim(reply) is None
    stopped = Message.objects.get(pk=reply.pk)
    assert stopped.status == Message.Status.CANCELLED
    assert (stopped.content, stopped.reasoning) == ("so far", "hm")


async def test_reply_that_lost_its_job_gets_another(room: Room, start_worker: Start) -> None:
    reply = await in_thread(room.say, tokens=5)
    await in_thread(execute, "DELETE FROM procrastinate_jobs")
    await start_worker()
    assert (await ended(reply)).status == Message.Status.COMPLETE


async def test_job_that_a_fetch_lost_is_given_back(
    room: Room, start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_FORGOTTEN_SECONDS", 0.3)
    worker = await start_worker()
    await eventually(lambda: worker._worker.worker_id)
    # As if the connection had broken between the fetch and its answer.
    with_job = await in_thread(room.another)

    def say_and_take() -> Message:
        with transaction.atomic():
            reply = with_job.say(tokens=3)
            execute(
                "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s"
                " WHERE args ->> 'message_id' = %s",
                worker._worker.worker_id,
                str(reply.pk),
            )
        return reply

    reply = await in_thread(say_and_take)
    assert (await ended(reply)).status == Message.Status.COMPLETE


def live_worker() -> int:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        return int(cursor.fetchone()[0])


def workers() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM procrastinate_workers ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def silent_for(seconds: float, *ids: int) -> None:
    execute(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - %s * interval '1 second'"
        " WHERE id = ANY(%s)",
        seconds,
        list(ids),
    )


async def test_killed_worker_is_forgotten(
    room: Room,
    start_process: StartProcess,
    start_worker: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = await in_thread(start_process)
    (dead,) = await eventually(workers)
    await in_thread(killed.kill)
    await in_thread(silent_for, reaper.GONE_SECONDS + 1, dead)
    monkeypatch.setattr(process, "_CLEAN_UP_SECONDS", 0.1)
    worker = await start_worker()
    worker.connector.steady_since = 0.0
    await eventually(workers, lambda now: dead not in now)
    assert await in_thread(workers) == [worker._worker.worker_id]


async def test_worker_that_was_forgotten_by_mistake_ends_and_loses_nothing(
    room: Room, start_process: StartProcess, start_worker: Start
) -> None:
    forgotten = await in_thread(start_process)
    await eventually(workers)
    await in_thread(execute, "DELETE FROM procrastinate_workers")
    reply = await in_thread(room.say, tokens=3)
    assert await in_thread(forgotten.wait) != 0
    await start_worker()
    assert (await ended(reply)).status == Message.Status.COMPLETE


def test_workers_are_forgotten_only_by_one_that_knows_the_time(room: Room) -> None:
    room.say(tokens=3)
    judge, slow, dead = live_worker(), live_worker(), live_worker()
    execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", dead)
    silent_for(reaper.GONE_SECONDS - 5, slow)
    silent_for(reaper.GONE_SECONDS + 5, judge, dead)
    reaper.clean_up(judge=None)
    reaper.clean_up(judge=judge)
    assert workers() == [judge, slow, dead]
    silent_for(0, judge)
    reaper.clean_up(judge=judge)
    assert workers() == [judge, slow]
    # Its job is not forgotten with it.
    assert reaper.take_over(judge=judge) == 1


def test_slow_worker_is_not_taken_for_dead(room: Room) -> None:
    room.say(tokens=3)
    execute(
        "WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat)"
        " VALUES (now() - interval '3 seconds') RETURNING id)"
        " UPDATE procrastinate_jobs SET status = 'doing', worker_id = w.id FROM w"
    )
    assert reaper.take_over(judge=live_worker()) == 0


def test_worker_whose_own_heartbeat_is_old_judges_nobody(room: Room) -> None:
    room.say(tokens=3)
    judge = live_worker()
    execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", live_worker())
    execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '10 seconds'")
    assert reaper.take_over(judge=judge) == 0
    execute("UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %s", judge)
    assert reaper.take_over(judge=judge) == 1


def test_other_jobs_of_a_dead_worker_run_again_but_not_for_ever(room: Room) -> None:
    room.say(tokens=3)
    take = (
        "WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat)"
        " VALUES (now() - interval '30 seconds') RETURNING id)"
        " UPDATE procrastinate_jobs SET status = 'doing', worker_id = w.id,"
        " task_name = 'other', attempts = %s FROM w WHERE status = 'todo'"
    )
    Message.objects.all().delete()
    execute(take, 0)
    assert reaper.take_over(judge=live_worker()) == 1
    assert jobs() == [("other", "todo")]
    execute(take, 5)
    reaper.take_over(judge=live_worker())
    assert jobs() == [("other", "failed")]


def test_chunks_without_a_reply_and_old_jobs_are_deleted(room: Room) -> None:
    reply = room.say(tokens=3)
    assert claim(reply) is not None
    for message_id, attempt in ((reply.pk, 1), (reply.pk, 7), (uuid4(), 1)):
        execute(
            "INSERT INTO chat_replychunk (message_id, attempt, index, text, reasoning)"
            " VALUES (%s, %s, 0, 'x', '')",
            message_id,
            attempt,
        )
    execute("UPDATE procrastinate_jobs SET status = 'failed'")
    execute("UPDATE procrastinate_events SET at = now() - interval '8 days'")
    reaper.clean_up(judge=None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT message_id, attempt FROM chat_replychunk")
        assert cursor.fetchall() == [(reply.pk, 1)]
    assert jobs() == []
