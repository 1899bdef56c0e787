"""Random sequences of changes, heard by clients that lose and reorder events and reconnect."""

import random
from collections.abc import Callable
from uuid import uuid4

from chat.models import (
    Conversation,
    Member,
    Message,
    Topic,
)
from chat.services import (
    conversations,
    members,
    mine,
    replies,
    reply_actions,
    threads,
    topics,
)
from chat.services.replies import Claim
from tests.chat.scenarios import edit, stop, with_charlie
from tests.chat.world import World
from tests.faults.known import Frame, Known


class Client:
    """A reducer behind a bad network. `inputs` is what it was given, for the other reducer."""

    def __init__(self, world: World) -> None:
        self.me = str(world.alice.pk)
        self.known = Known(self.me)
        self.inputs: list[Frame] = []
        self.connected = False
        self.missed = False
        self._late: list[Frame] = []

    def subscribe(self, world: World, source: random.Random) -> None:
        """Ask for what is missing until nothing is; events go on arriving meanwhile."""
        self.connected, self.missed = True, False
        while True:
            self.known.subscribing()
            self.inputs.append({"type": "subscribing"})
            answer = world.fetch(since=self.known.since)
            if source.random() < 0.3:
                # An event that is published after the read behind the answer, heard before it.
                mark = len(world.published)
                _act(world, source)
                for frame in world.published[mark:]:
                    self._take(frame)
            self.known.load(answer)
            self.inputs.append({"type": "changes", "changes": answer})
            if answer["complete"] and self.known.epoch is not None:
                return

    def hear(self, frame: Frame, source: random.Random) -> None:
        """Take an event in: now, twice, after the next one, or not at all."""
        if not self.connected:
            self.missed = True
            return
        fate = source.random()
        if fate < 0.06:
            self.missed = True
            return
        if fate < 0.16:
            self._late.append(frame)
            return
        self._take(frame)
        if fate < 0.22:
            self._take(frame)
        self.catch_up()

    def catch_up(self) -> None:
        """Take in what was late."""
        late, self._late = self._late, []
        for frame in late:
            self._take(frame)

    def lose_connection(self) -> None:
        """Hear nothing more, nor what was late."""
        self.connected, self.missed = False, True
        self._late.clear()

    def forget(self) -> None:
        """Load the page again."""
        self.lose_connection()
        self.known = Known(self.me)
        self.inputs.clear()

    def _take(self, frame: Frame) -> None:
        self.known.event(frame)
        self.inputs.append({"type": "event", "event": frame})


def _act(world: World, source: random.Random) -> None:
    """Do something to the conversation that is possible just now."""
    if world.kind == Conversation.Kind.FORUM:
        _act_in_forum(world, source)
        return
    active = list(
        Message.objects.filter(conversation_id=world.id, status__in=Message.ACTIVE).order_by("pk")
    )
    streaming = [reply for reply in active if reply.status == Message.Status.STREAMING]
    ended = Message.objects.filter(conversation_id=world.id, role="assistant").exclude(
        status__in=Message.ACTIVE
    )
    claims = [Claim(reply, reply.conversation, reply.attempt) for reply in streaming]
    acts: list[Callable[[], object]] = [
        lambda: mine.mark_read(
            user=world.alice, conversation_id=world.id, number=source.randrange(200)
        ),
        lambda: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, title=f"{source.randrange(3)}"
        ),
        lambda: members.change_member(
            user=world.alice,
            conversation_id=world.id,
            member_id=world.member(world.alice),
            nickname=f"{source.randrange(3)}",
        ),
    ]
    if not Conversation.objects.get(pk=world.id).title:
        acts.append(
            lambda: conversations.name_conversation(conversation_id=world.id, title="Weather")
        )
    room = len(active) < replies.MAX_WAITING_REPLIES
    if world.bob is not world.alice:
        acts.append(lambda: _join_or_leave(world))
    if world.bob is not world.alice or room:
        acts.append(lambda: world.say(source.choice([world.alice, world.bob])))
    if room:
        acts += [lambda: world.say(assistant="assistant")] * 3
    if active:
        acts += [lambda: _claim(world, source.choice(active))] * 2
        acts.append(lambda: stop(world, source.choice(active)))
    if claims:
        acts += [
            lambda: world.flush(source.choice(claims), source.choice(["a", "ß", " 🙂", ""]))
        ] * 6
        acts += [
            lambda: world.finish(
                source.choice(claims), source.choice(["complete", "failed", "interrupted"])
            )
        ] * 2
        acts.append(lambda: _hand_back(world, source.choice(claims)))
    if ended.exists() and not active:
        acts.append(lambda: _regenerate_one(world, source.choice(list(ended))))
    cut = ended.exclude(status=Message.Status.COMPLETE)
    if cut.exists() and room:
        acts.append(lambda: _continue_one(world, source.choice(list(cut))))
    said = Message.objects.filter(conversation_id=world.id, deleted_at=None)
    if said.exists():
        acts += [lambda: _react(world, source, list(said))] * 3
        if world.bob is not world.alice:
            acts += [lambda: _reply_in_thread(world, source, list(said))] * 2
    acts.append(world.count)
    own = Message.objects.filter(conversation_id=world.id, author_user=world.alice)
    if own.exists() and room:
        acts.append(lambda: edit(world, source.choice(list(own))))
    source.choice(acts)()


def _act_in_forum(world: World, source: random.Random) -> None:
    """Begin, change, answer, solve or delete a topic."""
    begun = list(Topic.objects.live().filter(forum_id=world.id).order_by("pk"))
    acts: list[Callable[[], object]] = [world.ask]
    if begun:
        topic = source.choice(begun)
        said = Message.objects.live().filter(conversation_id=topic.pk).order_by("pk")
        answers = list(said.filter(role="user").exclude(pk=topic.first_message_id))
        acts += [
            lambda: topics.change_topic(
                user=world.alice,
                topic_id=topic.pk,
                title=f"{source.randrange(3)}",
                pinned=source.random() < 0.5,
                solved=source.random() < 0.5,
            ),
            lambda: world.answer(topic),
            lambda: world.answer(topic),
            lambda: world.refresh(topic),
            lambda: world.refresh(topic),
        ]
        if source.random() < 0.1:
            acts.append(
                lambda: conversations.delete_conversation(
                    user=world.alice, conversation_id=topic.pk
                )
            )
        if answers:
            acts += [
                lambda: topics.accept_answer(
                    user=world.alice,
                    message_id=source.choice(answers).pk,
                    instead_of=topic.accepted_id,
                ),
                lambda: world.delete(source.choice(answers)),
                lambda: topics.withdraw_answer(
                    user=world.alice, message_id=source.choice(answers).pk
                ),
            ]
    source.choice(acts)()


def _claim(world: World, reply: Message) -> None:
    claim = replies.claim_reply(message_id=reply.pk, conversation_id=world.id)
    if claim is not None and claim.message.content:
        world.flush(claim, claim.message.content)


def _react(world: World, source: random.Random, said: list[Message]) -> None:
    """React several times, and mostly let it be counted."""
    for _ in range(source.randint(1, 8)):
        user, emoji = source.choice([world.alice, world.bob]), source.choice("👍🎉🙂")
        world.react(user, source.choice(said), emoji, on=source.random() < 0.7)
    if source.random() < 0.7:
        world.count()


def _reply_in_thread(world: World, source: random.Random, said: list[Message]) -> None:
    """Reply in a thread, or take a reply back, and mostly let it be counted."""
    root, user = source.choice(said), source.choice([world.alice, world.bob])
    inside = Message.objects.live().filter(conversation__root=root)
    if inside.exists() and source.random() < 0.3:
        world.delete(source.choice(list(inside)))
    else:
        threads.reply_in_thread(
            user=user,
            message_id=root.pk,
            client_id=uuid4().hex,
            content="so",
            also_in_room=source.random() < 0.3,
        )
    if source.random() < 0.7:
        world.count()


def _join_or_leave(world: World) -> None:
    present = Member.objects.filter(
        conversation_id=world.id, user=world.charlie, left_at=None
    ).first()
    if present is None:
        with_charlie(world)
    else:
        members.remove_member(user=world.alice, conversation_id=world.id, member_id=present.pk)


def _hand_back(world: World, claim: Claim) -> None:
    replies.hand_back_reply(
        message_id=claim.message.pk, conversation_id=world.id, attempt=claim.attempt
    )


def _regenerate_one(world: World, reply: Message) -> None:
    reply_actions.regenerate(user=world.alice, message_id=reply.pk)


def _continue_one(world: World, reply: Message) -> None:
    reply_actions.continue_reply(user=world.alice, message_id=reply.pk)


class _Quiet(random.Random):
    """Chance that brings nothing about."""

    def random(self) -> float:
        return 1.0


def play(world: World, source: random.Random, steps: int) -> list[tuple[Client, Frame]]:
    """Let random things happen to a conversation under three clients; then let all catch up."""
    clients = [Client(world) for _ in range(3)]
    for client in clients:
        client.subscribe(world, _Quiet())
    for _ in range(steps):
        mark = len(world.published)
        fate = source.random()
        if fate < 0.7:
            _act(world, source)
        client = source.choice(clients)
        for frame in world.published[mark:]:
            for each in clients:
                each.hear(frame, source)
        mark = len(world.published)
        if fate >= 0.92:
            client.forget()
        elif fate >= 0.8:
            client.lose_connection()
        elif fate >= 0.7:
            client.subscribe(world, source)
            for frame in world.published[mark:]:
                for each in clients:
                    if each is not client:
                        each.hear(frame, source)
    for client in clients:
        client.catch_up()
        if client.missed or client.known.has_gap:
            client.subscribe(world, _Quiet())
    fetched = world.fetch()
    return [(client, fetched) for client in clients]
