"""What each command of a socket does. One at a time per socket, each with its one answer."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from accounts.models import User
from chat.selectors.conversations import require_member
from chat.selectors.presence import by_sharing, seen_by
from chat.selectors.rooms import person_changes
from chat.selectors.sync import Asked, nothing_since, some_since
from chat.services.messages import SentMessage, delete_message, edit_message, send_message
from chat.services.mine import mark_read
from chat.services.reactions import react, vote
from chat.services.reply_actions import continue_reply, regenerate, request_stop
from chat.services.topic_views import count_view
from chat.socket.roster import roster
from chat.socket.subscriptions import Subscriptions
from chat.states import message_state
from core.batches import Batch
from core.errors import ChatireError, NotFound
from core.loops import PerLoop
from core.threads import in_thread
from protocol import limits
from protocol.commands import (
    Auth,
    AuthAck,
    ContinueReply,
    DeleteMessage,
    EditMessage,
    MessageAck,
    NewMessage,
    Ping,
    Pong,
    PresenceCommand,
    React,
    Read,
    ReadAck,
    RegenerateReply,
    SendMessage,
    SendMessageAck,
    StopReply,
    Subscribe,
    SubscribeAck,
    Sync,
    SyncAck,
    TallyAck,
    Typing,
    Unsubscribe,
    Vote,
    WatchAck,
    WatchPresence,
)
from protocol.errors import ErrorCode
from protocol.frames import Ack, Command
from protocol.states import Changes


class TooManySubscriptions(ChatireError):
    """One socket follows more conversations than it may."""

    code = ErrorCode.TOO_MANY_SUBSCRIPTIONS
    default_message = "This connection follows too many conversations; unsubscribe from some."


class Socket(Protocol):
    """What a command needs of the socket it came in on."""

    user: User
    subscriptions: Subscriptions
    defaults: dict[str, Any]
    active: bool

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


Handler = Callable[[Socket, Any], Awaitable[None]]
HANDLERS: dict[type[Command], Handler] = {}


def handles(command: type[Command]) -> Callable[[Handler], Handler]:
    """Make a function the one that carries a command out."""

    def register(handler: Handler) -> Handler:
        HANDLERS[command] = handler
        return handler

    return register


async def handle(socket: Socket, command: Command) -> None:
    """Carry a command out, and answer it. Raises ChatireError where it is refused."""
    await HANDLERS[type(command)](socket, command)


@handles(Subscribe)
async def subscribe(socket: Socket, command: Subscribe) -> None:
    """Authorise, join, read, answer, then let the events through that came meanwhile."""
    conversation_id = command.conversation
    known = conversation_id.hex in socket.subscriptions
    if not known and len(socket.subscriptions) >= limits.MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions(most=limits.MAX_SUBSCRIPTIONS)
    if not roster().is_in(socket.user.pk, conversation_id.hex):
        await in_thread(require_member, socket.user.pk, conversation_id)
    await socket.follow(conversation_id)
    try:
        changes = await _changes(socket.user, conversation_id, command.since)
        if socket.subscriptions.was_left(changes):
            raise NotFound
    except BaseException:
        await socket.unfollow(conversation_id)
        raise
    count_view(socket.user, changes)
    socket.answer(SubscribeAck(id=command.id, changes=changes))
    socket.release(changes)


_nothing_since = PerLoop(lambda: Batch(nothing_since))


async def _changes(user: User, conversation_id: UUID, since: int | None) -> Changes:
    """What `changes_since` returns; those who lack nothing are answered together."""
    if since is not None:
        nothing = await _nothing_since().get(Asked(user.pk, conversation_id, since))
        if nothing is not None:
            return nothing
    return await in_thread(some_since, user=user, conversation_id=conversation_id, since=since)


@handles(Unsubscribe)
async def unsubscribe(socket: Socket, command: Unsubscribe) -> None:
    """Stop following; also when it was not followed."""
    await socket.unfollow(command.conversation)
    socket.answer(Ack(id=command.id))


@handles(SendMessage)
async def send(socket: Socket, command: SendMessage) -> None:
    """Store the message, and the reply's job with it."""
    said = command.model_dump(include=set(NewMessage.model_fields))
    for name, value in socket.defaults.items():
        said[name] = said[name] or value
    sent = await in_thread(
        send_message, user=socket.user, conversation_id=command.conversation, **said
    )
    _answer_sent(socket, command, sent)


@handles(EditMessage)
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


async def _act(
    socket: Socket,
    command: DeleteMessage | StopReply | RegenerateReply | ContinueReply,
    service: Callable[..., Any],
) -> None:
    """Do something to a message that needs no more than its id, and answer with it."""
    message = await in_thread(service, user=socket.user, message_id=command.message)
    socket.answer(MessageAck(id=command.id, message=message_state(message)))


@handles(DeleteMessage)
async def delete(socket: Socket, command: DeleteMessage) -> None:
    """Delete a message; its place stays."""
    await _act(socket, command, partial(delete_message, reason=command.reason))


@handles(React)
async def give_reaction(socket: Socket, command: React) -> None:
    """Give an emoji to a message, or take it back."""
    tally = await in_thread(
        react,
        user=socket.user,
        message_id=command.message,
        emoji=command.emoji,
        on=command.on,
    )
    socket.answer(TallyAck(id=command.id, tally=tally))


@handles(Vote)
async def give_vote(socket: Socket, command: Vote) -> None:
    """Vote for a topic or an answer, or take it back."""
    tally = await in_thread(vote, user=socket.user, message_id=command.message, on=command.on)
    socket.answer(TallyAck(id=command.id, tally=tally))


@handles(StopReply)
async def stop(socket: Socket, command: StopReply) -> None:
    """Stop a reply, wherever it is being written."""
    await _act(socket, command, request_stop)


@handles(RegenerateReply)
async def another(socket: Socket, command: RegenerateReply) -> None:
    """Start another reply to the same turn."""
    await _act(socket, command, regenerate)


@handles(ContinueReply)
async def go_on(socket: Socket, command: ContinueReply) -> None:
    """Let a reply go on from where it ended."""
    await _act(socket, command, continue_reply)


@handles(Read)
async def read(socket: Socket, command: Read) -> None:
    """Move the read mark."""
    mine = await in_thread(
        mark_read, user=socket.user, conversation_id=command.conversation, number=command.number
    )
    socket.answer(ReadAck(id=command.id, mine=mine))


@handles(Sync)
async def sync(socket: Socket, command: Sync) -> None:
    """Tell what is new in the person's own list."""
    changes = await in_thread(
        person_changes,
        user=socket.user,
        since=command.since,
        at=command.at,
        cursor=command.cursor,
    )
    await roster().catch_up(socket.user.pk, changes.seq)
    socket.answer(SyncAck(id=command.id, changes=changes))


@handles(Typing)
async def typing(socket: Socket, command: Typing) -> None:
    """Let those who follow the conversation know soon; only its followers may."""
    conversation = command.conversation.hex
    if conversation not in socket.subscriptions:
        raise NotFound
    roster().live.typed(socket, socket.user.pk, conversation, active=command.active)
    socket.answer(Ack(id=command.id))


@handles(PresenceCommand)
async def presence(socket: Socket, command: PresenceCommand) -> None:
    """Note whether the client is used, for those who watch its person."""
    socket.active = command.active
    roster().live.used(socket.user.pk)
    socket.answer(Ack(id=command.id))


@handles(WatchPresence)
async def watch(socket: Socket, command: WatchPresence) -> None:
    """Tell how people are, and of every change from now on; unseen ones are as if unknown."""
    live = roster().live
    seen = await in_thread(seen_by, socket.user, command.people) if command.people else {}
    await live.learned()
    people = live.watch(socket, seen, by_sharing=by_sharing(socket.user))
    socket.answer(WatchAck(id=command.id, people=people))


@handles(Auth)
async def auth(socket: Socket, command: Auth) -> None:
    """Renew the token in place."""
    expires_at = await socket.renew(command.token)
    socket.answer(AuthAck(id=command.id, expires_at=expires_at))


@handles(Ping)
async def ping(socket: Socket, command: Ping) -> None:
    """Answer."""
    socket.answer(Pong(id=command.id))
