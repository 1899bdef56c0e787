"""Stopping, and what counts as it; making a reply again."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from channels_pgnotify.connection import connection_params
from chat.models import Conversation, Message
from chat.services.replies import claim_reply
from chat.services.reply_actions import regenerate, request_stop
from chatire.worker.process import WorkerProcess
from core.errors import Conflict, Invalid, NotFound
from core.jobs import SIGNALS
from core.threads import in_thread
from tests.chat.replies.conftest import (
    Follower,
    Room,
    Start,
    chunks,
    ended,
    eventually,
    reaching,
    text_so_far,
)
from tests.fakes.openai_server import RunningServer


async def test_stop_keeps_the_text_and_closes_the_models_connection(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=500, rate=50)
    await eventually(lambda: text_so_far(reply))
    marked = await in_thread(request_stop, user=room.user, message_id=reply.pk)
    assert marked.status == Message.Status.STREAMING
    state = await follower.until_status(reply, "cancelled")
    record = await in_thread(fake_model.wait_for_end)
    assert record.end == "disconnected"
    assert state["content"]
    assert record.text.startswith(state["content"])
    assert "".join(delta["text"] for delta in follower.deltas(reply)) == state["content"]
    assert state["usage"]["estimated"]
    assert await in_thread(chunks, reply) == []


def test_stop_of_a_streaming_reply_wakes_the_workers(room: Room) -> None:
    reply = room.say(tokens=5)
    assert claim_reply(message_id=reply.pk, conversation_id=reply.conversation_id) is not None
    params = connection_params(connection.settings_dict)
    with psycopg.connect(**params, autocommit=True) as listening:
        listening.execute(f"LISTEN {SIGNALS}")
        request_stop(user=room.user, message_id=reply.pk)
        heard = [json.loads(each.payload) for each in listening.notifies(timeout=10, stop_after=1)]
    assert heard == [{"signal": "stop", "message": reply.pk.hex}]


async def test_stop_whose_wake_up_was_lost_is_noticed(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=500, fault="stall_after:5")
    await eventually(lambda: text_so_far(reply))
    await in_thread(
        lambda: Message.objects.filter(pk=reply.pk).update(stop_requested_at=timezone.now())
    )
    assert (await ended(reply)).status == Message.Status.CANCELLED


async def test_stop_before_the_first_token_is_heard(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=5, fault="slow_headers:60")
    await reaching(reply, lambda now: now.status == Message.Status.STREAMING)
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    done = await ended(reply)
    assert (done.status, done.content) == (Message.Status.CANCELLED, "")


async def test_stop_while_waiting_to_ask_again_is_heard(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=5, fault="status:429", retry_after="25")
    await eventually(lambda: fake_model.records)
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    assert (await ended(reply)).status == Message.Status.CANCELLED


async def test_stop_requested_before_start_is_not_lost(
    room: Room, start_worker: Start, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=5)
    stopped = await in_thread(request_stop, user=room.user, message_id=reply.pk)
    assert stopped.status == Message.Status.CANCELLED
    await start_worker()
    after = await in_thread(room.say, tokens=5, id="after")
    await ended(after)
    assert len(fake_model.records) == 1
    assert (await ended(reply)).status == Message.Status.CANCELLED


async def test_stop_of_an_ended_reply_changes_nothing(room: Room, worker: WorkerProcess) -> None:
    done = await ended(await in_thread(room.say, tokens=5))
    again = await in_thread(request_stop, user=room.user, message_id=done.pk)
    assert (again.status, again.seq, again.content) == (done.status, done.seq, done.content)


def test_only_members_stop_and_regenerate(room: Room) -> None:
    reply = room.say(tokens=5)
    charlie = User.objects.create_user("charlie", "charlie@example.org", "a-fine-password")
    with pytest.raises(NotFound):
        request_stop(user=charlie, message_id=reply.pk)
    with pytest.raises(NotFound):
        regenerate(user=charlie, message_id=reply.pk)
    assert reply.parent is not None
    with pytest.raises(Invalid):
        request_stop(user=room.user, message_id=reply.parent.pk)


async def test_deleting_the_conversation_stops_the_model(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=500, rate=50)
    await eventually(lambda: text_so_far(reply))
    await in_thread(lambda: Conversation.objects.all().delete())
    assert (await in_thread(fake_model.wait_for_end)).end == "disconnected"
    await eventually(lambda: list(worker.flusher.replies), lambda replies: not replies)
    assert await in_thread(lambda: Message.objects.count()) == 0


async def test_deleting_the_reply_stops_the_model(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=500, rate=50)
    await eventually(lambda: text_so_far(reply))
    await in_thread(lambda: Message.objects.filter(pk=reply.pk).update(deleted_at=timezone.now()))
    assert (await in_thread(fake_model.wait_for_end)).end == "disconnected"
    assert (await ended(reply)).status == Message.Status.CANCELLED


def test_deleted_reply_is_not_begun(room: Room) -> None:
    reply = room.say(tokens=5)
    Message.objects.filter(pk=reply.pk).update(deleted_at=timezone.now())
    assert claim_reply(message_id=reply.pk, conversation_id=room.conversation.pk) is None
    reply.refresh_from_db()
    assert reply.status == Message.Status.CANCELLED


async def test_regenerated_reply_is_a_sibling_that_does_not_know_the_first(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    first = await ended(await in_thread(room.say, tokens=5))
    second = await in_thread(regenerate, user=room.user, message_id=first.pk)
    done = await ended(second)
    assert (done.parent_id, done.status) == (first.parent_id, Message.Status.COMPLETE)
    assert fake_model.records[1].body["messages"] == fake_model.records[0].body["messages"]


def test_two_clicks_on_regenerate_make_one_run(room: Room) -> None:
    pending = room.say(tokens=5)
    Message.objects.filter(pk=pending.pk).update(status=Message.Status.COMPLETE)
    first = regenerate(user=room.user, message_id=pending.pk)
    second = regenerate(user=room.user, message_id=pending.pk)
    assert first.pk == second.pk
    assert Message.objects.filter(parent=pending.parent, role="assistant").count() == 2


def test_clicks_on_regenerate_from_ten_threads_at_once_make_one_run(room: Room) -> None:
    first = room.say(tokens=5)
    Message.objects.filter(pk=first.pk).update(status=Message.Status.COMPLETE)
    together = threading.Barrier(10, timeout=20)

    def click(_: int) -> UUID:
        together.wait()
        try:
            return regenerate(user=room.user, message_id=first.pk).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        made = set(pool.map(click, range(10)))
    assert len(made) == 1
    assert Message.objects.filter(parent=first.parent, role="assistant").count() == 2
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'message_id' = %s",
            [str(made.pop())],
        )
        assert cursor.fetchone() == (1,)


def test_reply_whose_turn_or_assistant_is_gone_is_not_made_again(room: Room) -> None:
    reply = room.say(tokens=5)
    Message.objects.filter(pk=reply.pk).update(status=Message.Status.COMPLETE)
    room.conversation.members.filter(assistant__isnull=False).update(left_at=timezone.now())
    with pytest.raises(Conflict):
        regenerate(user=room.user, message_id=reply.pk)
    Message.objects.filter(pk=reply.parent_id).update(deleted_at=timezone.now())
    with pytest.raises(Conflict):
        regenerate(user=room.user, message_id=reply.pk)


async def test_stop_keeps_what_was_thought_so_far(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=500, rate=50, reasoning=5)
    await eventually(lambda: text_so_far(reply))
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    state = await follower.until_status(reply, "cancelled")
    record = await in_thread(fake_model.wait_for_end)
    assert state["reasoning"] == record.reasoning
    assert state["reasoning"]
