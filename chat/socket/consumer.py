"""The socket edge: one consumer for both routes. It carries frames and never calls a model."""

import asyncio
import json
import time
from typing import Any, ClassVar
from urllib.parse import parse_qs
from uuid import UUID

import structlog
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db.utils import InterfaceError, OperationalError
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars
from uuid_utils.compat import uuid7

from accounts.models import User
from channels_pgnotify import LayerError, PushMixin
from chat.selectors.conversations import followable
from chat.selectors.sync import installation_epoch
from chat.socket import registry
from chat.socket.auth import SocketAuth, authenticate_token
from chat.socket.handlers import HANDLERS, subscribe
from chat.socket.parameters import BadParameters, parse_parameters
from chat.socket.send_queue import Outbox, TooSlow
from chat.socket.subscriptions import Following
from chat.states import person_state
from core.errors import RETRY_AFTER, ChatireError, NotAllowed, NotFound, error_body
from core.publishing import conversation_group, user_group
from core.threads import in_thread
from protocol import limits
from protocol.commands import (
    Ack,
    AnyCommand,
    BadCommand,
    ErrorFrame,
    Pong,
    Subscribe,
    parse_command,
)
from protocol.events import Hello, Reconnect, Resync, ServerPing
from protocol.limits import CloseCode
from protocol.states import Changes

logger = structlog.get_logger(__name__)

# The database, or the way of events through it, is away for a moment.
_UNAVAILABLE = (OperationalError, InterfaceError, LayerError)
# What a frame sent to the person, not to a conversation they follow, is called.
_PERSONAL = frozenset({"conversation.touched", "notification.created", "notification.read"})
# Seconds a closing socket may take to hear why.
_CLOSE_TIMEOUT = 2.0


class ChatConsumer(PushMixin, AsyncWebsocketConsumer):  # type: ignore[misc]
    """One client's socket.

    `receive` only checks and queues; one task carries the commands out in order, one sends, one
    watches the clock. So a slow command, a slow client and a silent one never stop the others.
    """

    _direct: ClassVar = frozenset(
        {"membership.ended", "session.revoked", "layer.gap", "server.leaving"}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user: User
        self.auth: SocketAuth
        self.following = Following()
        self.defaults: dict[str, Any] = {}
        self._commands: asyncio.Queue[AnyCommand] = asyncio.Queue()
        self._outbox = Outbox(self._transmit)
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard_at = 0.0
        self._tokens = float(limits.FRAMES_BURST)
        self._refilled_at = 0.0
        self._closing = False
        self._renewed = asyncio.Event()

    # --- Coming and going --------------------------------------------------------------------

    async def connect(self) -> None:
        """Accept an authenticated socket, join its person's group and say hello."""
        self.auth = self.scope["auth"]
        self.user = self.scope["user"]
        self._heard_at = self._refilled_at = time.monotonic()
        offered = self.scope.get("subprotocols", [])
        await self.accept(limits.PROTOCOL if limits.PROTOCOL in offered else None)
        registry.opened(self)
        self._spawn(self._outbox.run())
        try:
            parameters = parse_parameters(
                parse_qs(self.scope["query_string"].decode(), keep_blank_values=True)
            )
        except BadParameters as error:
            self._put_error(None, "invalid_parameters", str(error), error.details)
            await self._shut(CloseCode.NOT_ALLOWED, "invalid_parameters")
            return
        self.defaults = parameters.defaults()
        try:
            await self.channel_layer.group_add(user_group(self.user.pk), self.channel_name)
            epoch = await in_thread(installation_epoch)
        except _UNAVAILABLE:
            await self._shut(CloseCode.RESTARTING, "unavailable")
            return
        self._put(
            Hello(
                epoch=epoch,
                session=self.channel_name.rsplit("!", 1)[-1],
                user=person_state(self.user),
                token_expires_at=self.auth.expires_at,
            )
        )
        conversation = self.scope["url_route"]["kwargs"].get("conversation_id")
        if conversation is not None and not await self._open(conversation, parameters.since):
            return
        self._spawn(self._carry_out())
        self._spawn(self._watch())

    async def _open(self, conversation: UUID, since: int | None) -> bool:
        """Subscribe to the route's own conversation; the ack's id is `subscribe`."""
        command = Subscribe(
            type="subscribe", id="subscribe", conversation=conversation, since=since
        )
        try:
            await subscribe(self, command)
        except NotFound:
            await self._shut(CloseCode.NO_CONVERSATION, "not_found")
            return False
        except _UNAVAILABLE:
            await self._shut(CloseCode.RESTARTING, "unavailable")
            return False
        return True

    async def disconnect(self, code: int) -> None:
        """Leave every group and end this socket's tasks."""
        self._closing = True
        registry.closed(self)
        for task in self._tasks:
            task.cancel()
        if not hasattr(self, "user"):
            return
        groups = [user_group(self.user.pk)]
        groups += [conversation_group(UUID(hex=conversation)) for conversation in self.following]
        for group in groups:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def _shut(self, code: CloseCode, reason: str) -> None:
        """Send what waits, then close; whatever happens meanwhile is not heard any more."""
        if self._closing:
            return
        self._closing = True
        registry.CLOSES.labels(int(code)).inc()
        if code != CloseCode.TOO_SLOW:
            await self._outbox.drained(_CLOSE_TIMEOUT)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self.close(code=int(code), reason=reason)
        except TimeoutError:
            # The client does not read, so no closing handshake would ever end.
            logger.info("socket_aborted", code=int(code))
            self.scope["extensions"]["chatire.abort"]()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        """Run one of the socket's tasks; the unexpected is logged and closes 1011."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except TooSlow:
            await self._shut(CloseCode.TOO_SLOW, "too_slow")
        except Exception:
            if not self._closing:
                logger.exception("socket_failed")
                await self._shut(CloseCode.INTERNAL, "internal")

    # --- From the client ---------------------------------------------------------------------

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a layer message directly.

        Channels' own dispatch looks for stale database connections at every event; nothing
        here touches the database on the event loop.
        """
        kind = message["type"]
        if kind not in self._direct:
            await super().dispatch(message)
            return
        try:
            await getattr(self, kind.replace(".", "_"))(message)
        except TooSlow:
            await self._shut(CloseCode.TOO_SLOW, "too_slow")

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """Clean up, then end the consumer."""
        await self.disconnect(message.get("code", 1006))
        raise StopConsumer

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Check a frame and queue its command."""
        if self._closing:
            return
        self._heard_at = time.monotonic()
        if not self._take_token():
            await self._shut(CloseCode.TOO_MANY_FRAMES, f"retry_after={RETRY_AFTER}")
            return
        if text_data is None:
            await self._shut(CloseCode.NOT_JSON, "not_json")
            return
        if len(text_data) > limits.MAX_FRAME_BYTES or (
            len(text_data) * 4 > limits.MAX_FRAME_BYTES
            and len(text_data.encode()) > limits.MAX_FRAME_BYTES
        ):
            await self._shut(CloseCode.TOO_BIG, "frame_too_big")
            return
        try:
            frame = json.loads(text_data)
        except (ValueError, RecursionError):
            await self._shut(CloseCode.NOT_JSON, "not_json")
            return
        if frame == {"type": "pong"}:
            return
        try:
            self._enqueue(frame)
        except TooSlow:
            await self._shut(CloseCode.TOO_SLOW, "too_slow")

    def _enqueue(self, frame: Any) -> None:
        try:
            command = parse_command(frame)
        except BadCommand as error:
            self._put_error(
                error.command_id,
                error.code,
                "The frame is not a command of this protocol.",
                {"fields": error.fields},
            )
            return
        if self._commands.qsize() >= limits.MAX_WAITING_COMMANDS:
            self._put_error(
                command.id, "too_many_commands", "Wait for the answers to earlier commands.", {}
            )
            return
        self._commands.put_nowait(command)

    def _take_token(self) -> bool:
        now = time.monotonic()
        self._tokens = min(
            float(limits.FRAMES_BURST),
            self._tokens + (now - self._refilled_at) * limits.FRAMES_PER_SECOND,
        )
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _carry_out(self) -> None:
        while True:
            command = await self._commands.get()
            try:
                # Follows what this command starts into the worker's log.
                with bound_contextvars(request_id=str(uuid7())):
                    await HANDLERS[type(command)](self, command)
                    logger.debug("command", type=command.type)
            except ChatireError as error:
                self._put_error(command.id, error.code, error.message, error.details)
            except _UNAVAILABLE:
                body = error_body("unavailable", "The service is briefly unavailable. Try again.")
                self._put_error(
                    command.id, body["code"], body["message"], {"retry_after": RETRY_AFTER}
                )

    # --- For the commands --------------------------------------------------------------------

    def answer(self, frame: Ack | Pong) -> None:
        """Queue the answer to a command."""
        self._put(frame)

    async def follow(self, conversation_id: UUID) -> None:
        """Join a conversation's group; its events are held back until `release`."""
        if self.following.hold(conversation_id.hex):
            group = conversation_group(conversation_id)
            await self.channel_layer.group_add(group, self.channel_name)

    def release(self, changes: Changes) -> None:
        """Pass on the held events that the changes do not already contain."""
        news, lost = self.following.release(changes)
        for event in news:
            self._outbox.put_event(event)
        if lost:
            self._put(Resync(conversation=changes.conversation.id))

    async def unfollow(self, conversation_id: UUID) -> None:
        """Leave a conversation's group; its events are not passed on any more."""
        if self.following.forget(conversation_id.hex):
            group = conversation_group(conversation_id)
            await self.channel_layer.group_discard(group, self.channel_name)

    async def renew(self, token: str) -> float:
        """Take another token of the same person. Raises what `authenticate_token` raises."""
        auth = await authenticate_token(token)
        if auth.user_id != self.user.pk:
            raise NotAllowed("That token is another person's.")
        self.auth = auth
        self._renewed.set()
        return auth.expires_at

    # --- From the channel layer --------------------------------------------------------------

    async def pushed(self, message: dict[str, Any]) -> None:
        """Pass a published frame on, unless its conversation is not followed (any more)."""
        try:
            await self._push(message)
        except TooSlow:
            await self._shut(CloseCode.TOO_SLOW, "too_slow")

    async def _push(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        conversation = event.get("conversation")
        if conversation is None or kind in _PERSONAL:
            self._outbox.put_event(event)
            return
        if kind == "conversation.deleted":
            # Told to the person, not to the conversation, which has no members any more.
            self._outbox.put_event(event)
            await self.unfollow(UUID(hex=conversation))
            return
        if self.following.is_news(conversation, event):
            self._outbox.put_event(event)

    async def membership_ended(self, event: dict[str, Any]) -> None:
        """Stop following a conversation the person was removed from, and say so."""
        await self.unfollow(UUID(hex=event["conversation"]))
        self._outbox.put_event(event)

    async def session_revoked(self, event: dict[str, Any]) -> None:
        """Close if it is this socket's session that was revoked."""
        sessions = event["sessions"]
        if sessions is None or str(self.auth.session_id) in sessions:
            await self._shut(CloseCode.AUTHENTICATE, "session_revoked")

    async def layer_gap(self, event: dict[str, Any]) -> None:
        """Something may have been missed: let the client ask again.

        What was missed may have been a revocation or a removal, so those are checked first.
        """
        self._spawn(self._resync())

    async def _resync(self) -> None:
        following = [UUID(hex=conversation) for conversation in self.following]
        while True:
            try:
                alive, still = await in_thread(
                    followable, self.user.pk, self.auth.session_id, following
                )
                break
            except _UNAVAILABLE:
                await asyncio.sleep(RETRY_AFTER)
        if not alive:
            await self._shut(CloseCode.AUTHENTICATE, "session_revoked")
            return
        for conversation in following:
            if conversation not in still:
                await self.unfollow(conversation)
        self._put(Resync())

    async def server_leaving(self, event: dict[str, Any]) -> None:
        """Send the client away in its turn: the process is about to stop."""
        self._put(Reconnect(after_ms=event["after_ms"]))
        await self._shut(CloseCode.RESTARTING, "restarting")

    # --- The clock ---------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Ping a silent client, close on one that stays silent or whose token ran out."""
        pinged_at: float | None = None
        while True:
            now = time.monotonic()
            if pinged_at is not None and self._heard_at >= pinged_at:
                pinged_at = None
            silent_until = self._heard_at + limits.HEARTBEAT_SECONDS
            token_left = self.auth.expires_at + limits.TOKEN_GRACE_SECONDS - time.time()
            if token_left <= 0:
                await self._shut(CloseCode.AUTHENTICATE, "token_expired")
                return
            if pinged_at is not None:
                beat_left = pinged_at + limits.HEARTBEAT_GRACE_SECONDS - now
                if beat_left <= 0:
                    await self._shut(CloseCode.NO_HEARTBEAT, "no_heartbeat")
                    return
            else:
                beat_left = silent_until - now
                if beat_left <= 0:
                    self._put(ServerPing())
                    pinged_at = now
                    beat_left = limits.HEARTBEAT_GRACE_SECONDS
            self._renewed.clear()
            try:
                await asyncio.wait_for(self._renewed.wait(), max(0.01, min(beat_left, token_left)))
            except TimeoutError:
                continue

    # --- To the client -----------------------------------------------------------------------

    def _put(self, frame: BaseModel) -> None:
        self._outbox.put(frame.model_dump_json())

    def _put_error(
        self, command_id: str | None, code: str, message: str, details: dict[str, Any]
    ) -> None:
        self._put(ErrorFrame(id=command_id, code=code, message=message, details=details))

    async def _transmit(self, text: str) -> None:
        await self.base_send({"type": "websocket.send", "text": text})
        registry.FRAMES.inc()
