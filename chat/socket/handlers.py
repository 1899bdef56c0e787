"""What each command of a socket does. One at a time per socket, each with its one answer."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

from accounts.models import User
from chat.selectors.conversations import require_member
from chat.selectors.sync import changes_since
from chat.services.members import mark_read
from chat.services.messages import SentMessage, edit_message, send_message
from chat.services.reply_actions import continue_reply, regenerate, request_stop
from chat.socket.subscriptions import Following
from chat.states import message_state
from core import publishing
from core.errors import ChatireError, NotFound
from core.threads import in_thread
from protocol import limits
from protocol.commands import (
    Ack,
    Auth,
    AuthAck,
    Command,
    ContinueReply,
    EditMessage,
    MessageAck,
    Ping,
    Pong,
    Read,
    RegenerateReply,
    SendMessage,
    SendMessageAck,
    StopReply,
    Subscribe,
    SubscribeAck,
    Typing,
    Unsubscribe,
)
from protocol.events import TypingEvent
from protocol.states import Changes


class TooManySubscriptions(ChatireError):
    """One socket follows more conversations than it may."""

    code = "too_many_subscriptions"
    default_message = "This connection follows too many conversations; unsubscribe from some."


class Socket(Protocol):
    """What a command needs of the socket it came in on."""

    user: User
    following: Following
    defaults: dict[str, Any]

    async def follow(self, conversation_id: UUID) -> None:
        """Join the conversation's group and hold its events back."""

    def release(self, changes: Changes) -> None:
        """Pass on the held events that the changes do not already contain."""

    async def unfollow(self, conversation_id: UUID) -> None:
        """Leave the conversation's group."""

    async def renew(self, token: str) -> float:
        """Take another token of the same person; returns when it expires."""

    def answer(self, frame: Ack | Pong) -> None:
        """Queue the answer."""


async def subscribe(socket: Socket, command: Subscribe) -> None:
    """Authorise, join, read, answer, then let the events through that came meanwhile."""
    conversation_id = command.conversation
    known = conversation_id.hex in socket.following
    if not known and len(socket.following) >= limits.MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions(most=limits.MAX_SUBSCRIPTIONS)
    await in_thread(require_member, socket.user.pk, conversation_id)
    await socket.follow(conversation_id)
    try:
        changes = await in_thread(
            changes_since, user=socket.user, conversation_id=conversation_id, since=command.since
        )
    except BaseException:
        await socket.unfollow(conversation_id)
        raise
    socket.answer(SubscribeAck(id=command.id, changes=changes))
    socket.release(changes)


async def unsubscribe(socket: Socket, command: Unsubscribe) -> None:
    """Stop following; also when it was not followed."""
    await socket.unfollow(command.conversation)
    socket.answer(Ack(id=command.id))


async def send(socket: Socket, command: SendMessage) -> None:
    """Store the message, and the reply's job with it."""
    sent = await in_thread(
        send_message,
        user=socket.user,
        conversation_id=command.conversation,
        client_id=command.client_id,
        content=command.content,
        parent=command.parent,
        assistant=command.assistant or socket.defaults.get("assistant"),
        model=command.model or socket.defaults.get("model"),
        language=socket.defaults.get("language", ""),
    )
    _answer_sent(socket, command, sent)


async def edit(socket: Socket, command: EditMessage) -> None:
    """Reword a message: a branch with an assistant, else in place."""
    edited = await in_thread(
        edit_message,
        user=socket.user,
        message_id=command.message,
        client_id=command.client_id,
        content=command.content,
        model=socket.defaults.get("model"),
        language=socket.defaults.get("language", ""),
    )
    _answer_sent(socket, command, edited)


def _answer_sent(socket: Socket, command: Command, sent: SentMessage) -> None:
    socket.answer(
        SendMessageAck(
            id=command.id,
            message=message_state(sent.message),
            reply=message_state(sent.reply) if sent.reply is not None else None,
        )
    )


async def stop(socket: Socket, command: StopReply) -> None:
    """Stop a reply, wherever it is being written."""
    message = await in_thread(request_stop, user=socket.user, message_id=command.message)
    socket.answer(MessageAck(id=command.id, message=message_state(message)))


async def another(socket: Socket, command: RegenerateReply) -> None:
    """Start another reply to the same turn."""
    message = await in_thread(regenerate, user=socket.user, message_id=command.message)
    socket.answer(MessageAck(id=command.id, message=message_state(message)))


async def go_on(socket: Socket, command: ContinueReply) -> None:
    """Let a reply go on from where it ended."""
    message = await in_thread(continue_reply, user=socket.user, message_id=command.message)
    socket.answer(MessageAck(id=command.id, message=message_state(message)))


async def read(socket: Socket, command: Read) -> None:
    """Move the read mark."""
    await in_thread(
        mark_read, user=socket.user, conversation_id=command.conversation, seq=command.seq
    )
    socket.answer(Ack(id=command.id))


async def typing(socket: Socket, command: Typing) -> None:
    """Tell those who follow the conversation; only its followers may."""
    if command.conversation.hex not in socket.following:
        raise NotFound
    event = TypingEvent(
        conversation=command.conversation, user=socket.user.pk, active=command.active
    )
    await publishing.publish_now_async(publishing.to_conversation(event))
    socket.answer(Ack(id=command.id))


async def auth(socket: Socket, command: Auth) -> None:
    """Renew the token in place."""
    expires_at = await socket.renew(command.token)
    socket.answer(AuthAck(id=command.id, expires_at=expires_at))


async def ping(socket: Socket, command: Ping) -> None:
    """Answer."""
    socket.answer(Pong(id=command.id))


HANDLERS: dict[type[Command], Callable[[Socket, Any], Awaitable[None]]] = {
    Subscribe: subscribe,
    Unsubscribe: unsubscribe,
    SendMessage: send,
    EditMessage: edit,
    StopReply: stop,
    RegenerateReply: another,
    ContinueReply: go_on,
    Read: read,
    Typing: typing,
    Auth: auth,
    Ping: ping,
}
