"""The socket edge: one consumer for both routes. It carries frames and never calls a model."""

from functools import partial
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from accounts.models import User
from channels_pgnotify import PushMixin
from chat.selectors.conversations import followable
from chat.selectors.rooms import Greeting
from chat.socket import registry
from chat.socket.auth import SocketAuth, authenticate_token
from chat.socket.command_queue import UNAVAILABLE, CommandQueue, Unreadable, decode
from chat.socket.connection import Connection
from chat.socket.handlers import handle, subscribe
from chat.socket.heartbeat import Heartbeat
from chat.socket.parameters import BadParameters, Parameters, parse_parameters, require_offered
from chat.socket.rate_limit import RateLimit
from chat.socket.roster import roster
from chat.socket.subscriptions import Subscriptions
from chat.states import person_state
from core.errors import RETRY_AFTER, NotAllowed, NotFound
from core.publishing import conversation_group, user_group
from core.threads import in_thread, until_available
from protocol import limits
from protocol.commands import HeartbeatAnswer, Pong, Subscribe
from protocol.errors import ErrorCode
from protocol.events import Hello, Reconnect, Resync
from protocol.frames import EVENTS, Ack, Order
from protocol.limits import CloseCode
from protocol.states import Changes

_PONG = HeartbeatAnswer(type="pong").model_dump()


class ChatConsumer(PushMixin, AsyncWebsocketConsumer):  # type: ignore[misc]
    """One client's socket.

    `receive` only checks and queues: a task carries the commands out in order while there are
    some, another sends while something waits. So a slow command and a slow client never stop the
    others, and an idle socket has neither.
    """

    user: User
    auth: SocketAuth

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subscriptions = Subscriptions()
        self.defaults: dict[str, Any] = {}
        self.active = False
        self._frames = RateLimit(per_second=limits.FRAMES_PER_SECOND, burst=limits.FRAMES_BURST)

    # --- Coming and going --------------------------------------------------------------------

    async def connect(self) -> None:
        """Accept an authenticated socket, join its person's group and say hello."""
        self.auth, self.user = self.scope["auth"], self.scope["user"]
        self._connection = Connection(self.base_send, self.scope.get("extensions", {}))
        self._commands = CommandQueue(self._connection, partial(handle, self))
        self._heartbeat = Heartbeat(self._connection, self.auth.expires_at)
        offered = self.scope.get("subprotocols", [])
        await self.accept(limits.PROTOCOL if limits.PROTOCOL in offered else None)
        registry.opened(self)
        self._connection.open()
        query = parse_qs(self.scope["query_string"].decode(), keep_blank_values=True)
        try:
            parameters = parse_parameters(query)
            if parameters.assistant is not None or parameters.model is not None:
                await in_thread(require_offered, parameters)
            self.defaults = parameters.defaults()
            await self._greet(parameters)
        except BadParameters as error:
            self._connection.put_error(
                None, ErrorCode.INVALID_PARAMETERS, str(error), error.details
            )
            await self._connection.shut(CloseCode.NOT_ALLOWED, ErrorCode.INVALID_PARAMETERS)
        except NotFound:
            await self._connection.shut(CloseCode.NO_CONVERSATION, "not_found")
        except UNAVAILABLE:
            await self._connection.shut(CloseCode.RESTARTING, "unavailable")
        else:
            self.scope.pop("greeted")()
            del self.scope["greeting"]
            self._heartbeat.start()

    async def _greet(self, parameters: Parameters) -> None:
        """Say hello, and subscribe to the route's conversation; that ack's id is `subscribe`."""
        await self.channel_layer.group_add(user_group(self.user.pk), self.channel_name)
        here = roster()
        begun: Greeting = self.scope["greeting"]
        await here.opened(self.user.pk, self, feed=begun.feed, conversations=begun.conversations)
        self._connection.put(
            Hello(
                epoch=begun.epoch,
                feed=begun.feed,
                session=self.channel_name.rsplit("!", 1)[-1],
                user=person_state(self.user),
                token_expires_at=self.auth.expires_at,
            )
        )
        conversation = self.scope["url_route"]["kwargs"].get("conversation_id")
        if conversation is not None:
            command = Subscribe(
                type="subscribe", id="subscribe", conversation=conversation, since=parameters.since
            )
            await subscribe(self, command)

    async def disconnect(self, code: int) -> None:
        """Leave every group and end this socket's tasks."""
        registry.closed(self)
        if hasattr(self, "_connection"):
            self._heartbeat.stop()
            self._connection.ended()
            roster().closed(self.user.pk, self)
            for one in self.subscriptions:
                roster().follows_no_more(self, one)
            followed = [conversation_group(UUID(hex=one)) for one in self.subscriptions]
            for group in (user_group(self.user.pk), *followed):
                await self.channel_layer.group_discard(group, self.channel_name)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """Clean up, then end the consumer."""
        await self.disconnect(message.get("code", 1006))
        raise StopConsumer

    # --- From the client ---------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Check a frame and queue its command."""
        if self._connection.ending:
            return
        self._heartbeat.heard()
        if not self._frames.take():
            await self._connection.shut(CloseCode.TOO_MANY_FRAMES, f"retry_after={RETRY_AFTER}")
            return
        try:
            frame = decode(text_data)
            if frame != _PONG:
                self._commands.put(frame)
        except Unreadable as error:
            await self._connection.shut(error.code, error.reason)

    # --- For the commands --------------------------------------------------------------------

    def answer(self, frame: Ack | Pong) -> None:
        """Queue the answer to a command."""
        self._connection.put(frame)

    async def follow(self, conversation_id: UUID) -> None:
        """Join a conversation's group; its events are held back until `release`."""
        group = conversation_group(conversation_id)
        if self.subscriptions.hold(conversation_id.hex):
            roster().follows(self, self.user.pk, conversation_id.hex)
            await self.channel_layer.group_add(group, self.channel_name)

    def release(self, changes: Changes) -> None:
        """Pass on the held events that the changes do not already contain."""
        news, lost = self.subscriptions.release(changes)
        for event in news:
            self._connection.put_event(event)
        if lost:
            self._connection.put(Resync(conversation=changes.conversation.id))

    async def unfollow(self, conversation_id: UUID) -> None:
        """Leave a conversation's group; its events are not passed on any more."""
        group = conversation_group(conversation_id)
        if self.subscriptions.forget(conversation_id.hex):
            roster().follows_no_more(self, conversation_id.hex)
            await self.channel_layer.group_discard(group, self.channel_name)

    async def renew(self, token: str) -> float:
        """Take another token of the same person. Raises what `authenticate_token` raises."""
        auth = await authenticate_token(token)
        if auth.user_id != self.user.pk:
            raise NotAllowed("That token is another person's.")
        self.auth = auth
        self._heartbeat.renew(auth.expires_at)
        return auth.expires_at

    # --- From the channel layer --------------------------------------------------------------

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a message directly.

        Channels' own dispatch looks for stale database connections at every event; nothing
        here touches the database on the event loop.
        """
        await getattr(self, get_handler_name(message))(message)

    def push(self, message: dict[str, Any]) -> bool:
        """Pass a published frame on, unless its conversation is not followed (any more)."""
        conversation, declared = message.get("conversation"), EVENTS.get(message["kind"])
        personal = declared is not None and declared.order is Order.PERSON
        if "gone" in message:
            roster().heard(self.user.pk, message)
        if personal or conversation is None or self.subscriptions.is_news(conversation, message):
            self._connection.put_event(message)
        return True

    async def pushed(self, message: dict[str, Any]) -> None:
        """Do the same where the layer cannot, or after what waited."""
        self.push(message)

    async def membership_ended(self, event: dict[str, Any]) -> None:
        """Stop following a conversation that the person is not in any more, and say so.

        With it go the topics and threads in it.
        """
        roster().left(self.user.pk, event["conversation"])
        for left in self.subscriptions.left(event["conversation"]):
            await self.unfollow(UUID(hex=left))
        self._connection.put_event(event)

    async def session_revoked(self, event: dict[str, Any]) -> None:
        """Close if it is this socket's session that was revoked."""
        sessions = event["sessions"]
        if sessions is None or str(self.auth.session_id) in sessions:
            await self._connection.shut(CloseCode.AUTHENTICATE, "session_revoked")

    async def layer_gap(self, event: dict[str, Any]) -> None:
        """Something may have been missed: let the client ask again.

        What was missed may have been a revocation or a removal, so those are checked first.
        """
        self._connection.spawn(self._resync())

    async def _resync(self) -> None:
        following = [UUID(hex=followed) for followed in self.subscriptions]
        signed_in, still = await until_available(
            followable, self.user.pk, self.auth.session_id, following
        )
        if not signed_in:
            await self._connection.shut(CloseCode.AUTHENTICATE, "session_revoked")
        for conversation in set(following) - still:
            await self.unfollow(conversation)
        self._connection.put(Resync())

    async def server_leaving(self, event: dict[str, Any]) -> None:
        """Send the client away in its turn: the process is about to stop."""
        self._connection.put(Reconnect(after_ms=event["after_ms"]))
        await self._connection.shut(CloseCode.RESTARTING, "restarting")
