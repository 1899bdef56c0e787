"""The one door to the channel layer: every app's events, to which group, and when.

Durable changes go out after their commit, never inside the transaction: Postgres serialises
all commits that NOTIFY through one lock. A publication lost to a crash costs nothing, because
clients recover by `seq`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from channels_pgnotify import PostgresChannelLayer
from core.commits import after_commit
from core.metrics import EVENTS, STATEMENTS
from protocol.events import (
    BlockUpdated,
    ConversationDeleted,
    ConversationUpdated,
    MemberLeft,
    MessageUpdated,
    MineUpdated,
    ReplyDelta,
)
from protocol.frames import Event

logger = structlog.get_logger(__name__)


# Every `ws` process's list of which conversations its people are in.
ROSTERS = "rosters"


def user_group(user_id: UUID) -> str:
    """The group of every socket of one person."""
    return f"user.{user_id.hex}"


def conversation_group(conversation_id: UUID) -> str:
    """The group of every socket that follows a conversation."""
    return f"conversation.{conversation_id.hex}"


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of the channel layer on its way to a group."""

    group: str
    message: dict[str, Any] = field(repr=False)


def to_conversation(event: Event, *, place: int | None = None) -> Publication:
    """Address an event to everyone who follows its conversation.

    `place` is the `created_seq` of a message that it is about, unless it says so itself: it is
    not for those who may read only what came after them.
    """
    conversation: UUID = event.conversation  # type: ignore[attr-defined]
    message = _push(event)
    if place is not None:
        message["place"] = place
    return Publication(conversation_group(conversation), message)


def to_user(user_id: UUID, event: Event) -> Publication:
    """Address an event to every socket of one person."""
    return Publication(user_group(user_id), _push(event))


def to_rosters(kind: str, message: dict[str, Any]) -> Publication:
    """Address what is no frame to every `ws` process, which knows whom it concerns there."""
    return Publication(ROSTERS, {"type": kind, **message})


def deleted(event: ConversationDeleted) -> Publication:
    """Tell everyone who was in a conversation, whether they follow it or not, that it is gone."""
    message = _push(event)
    message["type"] = "room.deleted"
    return Publication(ROSTERS, message)


def removed_from(user_id: UUID, event: MemberLeft) -> Publication:
    """Tell a person's sockets to stop following a conversation that they are not in any more.

    The frame comes along, because they will not hear it from the conversation any more.
    """
    message = _push(event)
    message["type"] = "membership.ended"
    return Publication(user_group(user_id), message)


def signed_out(user_id: UUID, session_ids: Iterable[UUID] | None) -> Publication:
    """Tell a person's sockets that sessions were revoked (None: all of them)."""
    sessions = None if session_ids is None else [str(session_id) for session_id in session_ids]
    return Publication(user_group(user_id), {"type": "session.revoked", "sessions": sessions})


def _push(event: Event) -> dict[str, Any]:
    """Encode an event once, to the text that goes on the wire, with what a consumer steers by."""
    message: dict[str, Any] = {
        "type": "push",
        "kind": event.type,
        "frame": event.model_dump_json(),
    }
    conversation = getattr(event, "conversation", None)
    if conversation is not None:
        message["conversation"] = conversation.hex
    seq = getattr(event, "seq", None)
    if seq is not None:
        message["seq"] = seq
    if isinstance(event, MineUpdated):
        message["joined"] = [mine.conversation.hex for mine in event.mine]
        message["gone"] = [conversation.hex for conversation in event.gone]
    if isinstance(event, BlockUpdated):
        # Nothing to rosters but another number of the feed.
        message["joined"] = message["gone"] = []
    if isinstance(event, MessageUpdated):
        message["place"] = event.message.created_seq
    if isinstance(event, ConversationUpdated):
        # From where newcomers may read may have changed.
        message["history"] = event.state.history
    if isinstance(event, ReplyDelta):
        message["message"] = event.message.hex
        message["attempt"] = event.attempt
        message["index"] = event.index
    return message


def publish_on_commit(collected: Sequence[Publication]) -> None:
    """Publish after the current transaction commits, in one statement.

    `collected` is read then, so it may still grow. One that is lost harms no one: the rows are
    committed, and clients recover by `seq`.
    """

    def publish() -> None:
        if collected:
            publish_now(*collected)

    after_commit(publish, lost="publication_lost")


def publish_now(*publications: Publication) -> None:
    """Publish from a thread, in one statement. Not from inside a transaction.

    Raises LayerError, or what the database raises.
    """
    layer = get_channel_layer()
    _send_from_thread(layer, _counted(layer, publications))


def _send_from_thread(layer: Any, items: Sequence[tuple[str, dict[str, Any]]]) -> None:
    # Asked of the class: some layers have no attributes outside an event loop.
    if hasattr(type(layer), "group_send_many_sync"):
        layer.group_send_many_sync(items)
        return
    for group, message in items:
        async_to_sync(layer.group_send)(group, message)


async def publish_now_async(*publications: Publication) -> None:
    """Publish from an event loop, in one statement. Raises LayerError."""
    layer = get_channel_layer()
    items = _counted(layer, publications)
    if hasattr(type(layer), "group_send_many"):
        await layer.group_send_many(items)
        return
    for group, message in items:
        await layer.group_send(group, message)


def _counted(layer: Any, publications: Sequence[Publication]) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(layer, PostgresChannelLayer):
        STATEMENTS.labels("publish").inc()
    for publication in publications:
        EVENTS.labels(publication.message.get("kind", publication.message["type"])).inc()
    return [(publication.group, publication.message) for publication in publications]


def publish_message(group: str, message: Mapping[str, Any], *, alias: str = "default") -> None:
    """Send a message that is no frame of ours to a group that is not ours, on any layer.

    For a notification with a `destination` of its own, whose consumer is the installation's.
    Raises what the layer raises.
    """
    layer = get_channel_layer(alias)
    _send_from_thread(layer, _counted(layer, [Publication(group, dict(message))]))
