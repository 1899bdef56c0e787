"""The one door to the channel layer: what goes through it, how often, and how it is counted."""

from typing import Any
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from core.metrics import EVENTS
from core.publishing import (
    Publication,
    conversation_group,
    publish_message,
    publish_now,
    publish_now_async,
    publish_on_commit,
    removed_from,
    signed_out,
    to_conversation,
    to_user,
    user_group,
)
from core.threads import in_thread
from protocol.events import ConversationDeleted, Reconnect, ReplyDelta, TypingEvent

pytestmark = pytest.mark.django_db(transaction=True)
ROOM, PERSON = uuid4(), uuid4()


def typing() -> TypingEvent:
    return TypingEvent(conversation=ROOM, users=[PERSON], count=1)


def counted(kind: str) -> float:
    """How many of a kind were handed to the layer by now."""
    value: float = EVENTS.labels(kind)._value.get()
    return value


def test_several_publications_are_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        publish_now(*(to_conversation(typing()) for _ in range(5)))
    assert len(queries) == 1


async def test_what_is_published_reaches_its_group_and_is_counted_by_its_kind() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(conversation_group(ROOM), channel)
    before = counted("typing")
    await publish_now_async(to_conversation(typing()), to_conversation(typing()))
    heard: list[dict[str, Any]] = [await layer.receive(channel) for _ in range(2)]
    assert [(one["type"], one["kind"]) for one in heard] == [("push", "typing")] * 2
    assert heard[0]["frame"] == typing().model_dump_json()
    assert counted("typing") == before + 2
    await layer.close()


async def test_a_message_of_somebody_elses_goes_to_their_group_as_it_is() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("their.group", channel)
    before = counted("their.event")
    await in_thread(publish_message, "their.group", {"type": "their.event", "n": 1})
    assert await layer.receive(channel) == {"type": "their.event", "n": 1}
    assert counted("their.event") == before + 1
    await layer.close()


def test_nothing_is_published_before_the_commit_and_late_comers_are_taken_along() -> None:
    collected: list[Publication] = []
    with CaptureQueriesContext(connection) as queries:
        with transaction.atomic():
            publish_on_commit(collected)
            collected.append(to_conversation(typing()))
            assert not any("pg_notify" in query["sql"] for query in queries)
        assert sum("pg_notify" in query["sql"] for query in queries) == 1


def test_where_there_is_nothing_to_publish_there_is_no_statement() -> None:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        publish_on_commit([])
    assert not any("pg_notify" in query["sql"] for query in queries)


def test_a_publication_carries_what_a_consumer_steers_by() -> None:
    delta = ReplyDelta(conversation=ROOM, message=PERSON, attempt=2, index=7, text="so")
    deleted = ConversationDeleted(conversation=ROOM, seq=9)
    steered = to_conversation(delta).message
    assert (steered["conversation"], steered["message"]) == (ROOM.hex, PERSON.hex)
    assert (steered["attempt"], steered["index"]) == (2, 7)
    assert to_conversation(deleted).message["seq"] == 9
    assert "conversation" not in to_user(PERSON, Reconnect(after_ms=1)).message
    ended = removed_from(PERSON, deleted)
    assert (ended.group, ended.message["type"]) == (user_group(PERSON), "membership.ended")
    assert signed_out(PERSON, None).message == {"type": "session.revoked", "sessions": None}
    assert signed_out(PERSON, [ROOM]).message["sessions"] == [str(ROOM)]
