"""State before + the events of a change == state fetched afresh, for every service. After Zulip.

Two reducers are held to it: `tests.faults.known`, by which the fault suite's clients live, and the
frontend's own, which Vitest runs over what was recorded here.
"""

import importlib
import inspect
import json
import os
import pkgutil
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chat.services
from accounts.models import User
from chat import unread
from chat.models import (
    Assistant,
    Conversation,
    Invitation,
    JoinRequest,
    Member,
    Message,
    ReplyChunk,
)
from chat.selectors.sync import changes_since
from chat.services import (
    conversations,
    joining,
    members,
    messages,
    mine,
    reactions,
    replies,
    reply_actions,
    staff,
)
from chat.services.replies import Claim, Outcome
from chat.tokens import invitation_token
from core import publishing
from core.publishing import ROSTERS, Publication, to_conversation, user_group
from protocol import limits
from protocol.events import ReplyDelta
from tests.chat.recordings import play_to_the_frontend
from tests.faults.known import Frame, Known

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"


class World:
    """Three people, a conversation, and the frames that its changes have published, in order."""

    def __init__(self, conversation: Conversation, alice: User, bob: User, charlie: User) -> None:
        self.id = conversation.pk
        self.alice, self.bob, self.charlie = alice, bob, charlie
        self.published: list[Frame] = []

    def heard(self, *publications: Publication) -> None:
        """Keep what followers of the conversation, and alice on her own group, are told of it."""
        for publication in publications:
            if "frame" not in publication.message:
                continue
            frame = json.loads(publication.message["frame"])
            if "conversation" not in frame:
                continue
            own = publication.group == user_group(self.alice.pk)
            if frame["conversation"] != str(self.id):
                continue
            if own or publication.group.startswith(("conversation.", ROSTERS)):
                self.published.append(frame)

    def fetch(self, since: int | None = None) -> Frame:
        """What `subscribe` and `changes/` answer alice."""
        answer = changes_since(user=self.alice, conversation_id=self.id, since=since)
        return json.loads(answer.model_dump_json())  # type: ignore[no-any-return]

    # --- What people and workers do ----------------------------------------------------------

    def say(self, user: User | None = None, client_id: str = "", **options: Any) -> Message:
        """Say something; return the reply, or the message if there is none."""
        sent = messages.send_message(
            user=user or self.alice,
            conversation_id=self.id,
            client_id=client_id or uuid4().hex,
            content="Is it raining? 🙂",
            **options,
        )
        return sent.reply or sent.message

    def delete(self, message: Message) -> None:
        """Delete a message, as the owner."""
        messages.delete_message(user=self.alice, message_id=message.pk)

    def claim(self, reply: Message) -> Claim:
        """Take a reply as a worker does; its stream begins with what it says already."""
        claim = replies.claim_reply(message_id=reply.pk, conversation_id=self.id)
        assert claim is not None
        if claim.message.content:
            self.flush(claim, claim.message.content)
        return claim

    def flush(self, claim: Claim, text: str) -> None:
        """Store a delta, then publish it, as the flusher does."""
        key = {"message_id": claim.message.pk, "attempt": claim.attempt}
        index = ReplyChunk.objects.filter(**key).count()
        ReplyChunk.objects.create(**key, index=index, text=text)
        self.heard(
            to_conversation(
                ReplyDelta(
                    conversation=self.id,
                    message=claim.message.pk,
                    attempt=claim.attempt,
                    index=index,
                    text=text,
                )
            )
        )

    def finish(self, claim: Claim, status: str = "complete") -> bool:
        """End a reply with the text that was flushed."""
        rows = ReplyChunk.objects.filter(message_id=claim.message.pk, attempt=claim.attempt)
        outcome = Outcome(
            status=status,
            content="".join(rows.order_by("index").values_list("text", flat=True)),
            finish_reason="stop" if status == "complete" else "",
            error_code="upstream" if status == "failed" else "",
            model="fake",
            input_tokens=3,
            output_tokens=5,
        )
        return replies.finish_reply(
            message_id=claim.message.pk,
            conversation_id=self.id,
            attempt=claim.attempt,
            outcome=outcome,
        )

    def streaming(self) -> Claim:
        """A reply that has said something."""
        claim = self.claim(self.say(assistant="assistant"))
        self.flush(claim, "No, ")
        self.flush(claim, "it ")
        return claim

    def react(self, user: User, message: Message, emoji: str, *, on: bool = True) -> None:
        """Give an emoji, or take it back; it is not counted yet."""
        reactions.react(user=user, message_id=message.pk, emoji=emoji, on=on)

    def count(self) -> None:
        """Count all reactions, as is done once a second."""
        while reactions.count_reactions(conversation_id=self.id):
            pass

    def member(self, user: User) -> UUID:
        """A person's membership."""
        return Member.objects.get(conversation_id=self.id, user=user).pk


@pytest.fixture
def open_world(
    alice: User,
    bob: User,
    charlie: User,
    assistant: Assistant,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., World]]:
    """`open_world()`: alice's and bob's group with the assistant, the only one that is heard.

    With `kind="assistant"`, alice's conversation with the assistant: whatever bob does there,
    she does.
    """
    worlds: list[World] = []

    def hear(*publications: Publication) -> None:
        for world in worlds[-1:]:
            world.heard(*publications)

    def open_one(kind: str = "group") -> World:
        conversation = conversations.create_conversation(
            user=alice, kind=kind, assistant="assistant", members=[bob.pk] * (kind == "group")
        )
        worlds.append(World(conversation, alice, bob if kind == "group" else alice, charlie))
        return worlds[-1]

    monkeypatch.setattr(publishing, "publish_now", hear)
    monkeypatch.setattr(unread, "_touch", lambda touch: None)
    # Counting is an act of its own here.
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)
    monkeypatch.setattr(reactions._counting, "soon", lambda conversation: None)
    yield open_one
    connection.close()


# --- Every service ---------------------------------------------------------------------------

Act = Callable[[World], object]


def _then(prepare: Callable[[World], Any], act: Callable[[World, Any], object]) -> Any:
    return prepare, act


def _stop(world: World, reply: Message) -> object:
    return reply_actions.request_stop(user=world.bob, message_id=reply.pk)


def _claimed_five_times(world: World) -> Message:
    reply = world.say(assistant="assistant")
    for _ in range(replies.MAX_ATTEMPTS):
        world.claim(reply)
    return reply


def _stopped_while_streaming(world: World) -> Claim:
    claim = world.streaming()
    _stop(world, claim.message)
    return claim


def _stopped_then_lost(world: World) -> Claim:
    claim = _stopped_while_streaming(world)
    assert replies.claim_reply(message_id=claim.message.pk, conversation_id=world.id) is None
    return claim


def _again(world: World, claim: Claim) -> object:
    return reply_actions.regenerate(user=world.bob, message_id=claim.message.pk)


def _go_on(world: World, claim: Claim) -> object:
    return reply_actions.continue_reply(user=world.bob, message_id=claim.message.pk)


def _going_on(world: World) -> Claim:
    claim = _stopped_then_lost(world)
    _go_on(world, claim)
    return claim


def _edit(world: World, message: Message, client_id: str = "") -> messages.SentMessage:
    return messages.edit_message(
        user=world.alice,
        message_id=message.pk,
        client_id=client_id or uuid4().hex,
        content="Is it snowing?",
    )


def _ended(world: World) -> Claim:
    claim = world.streaming()
    world.finish(claim)
    return claim


def _nothing(world: World) -> None:
    return None


def _with_charlie(world: World) -> Member:
    return members.add_member(user=world.alice, conversation_id=world.id, person=world.charlie.pk)


def _charlie_left(world: World) -> Member:
    return members.remove_member(
        user=world.charlie, conversation_id=world.id, member_id=_with_charlie(world).pk
    )


def _listed(world: World) -> Conversation:
    return conversations.change_conversation(
        user=world.alice, conversation_id=world.id, access="listed"
    )


def _ask(world: World) -> JoinRequest:
    return joining.request_to_join(user=world.charlie, conversation_id=world.id)


def _invite(world: World, **values: Any) -> Invitation:
    return joining.create_invitation(user=world.alice, conversation_id=world.id, **values)


def _taken(world: World) -> Invitation:
    link = _invite(world)
    joining.take_invitation(user=world.charlie, token=invitation_token(link))
    return link


# Name, which begins with the service's: what comes before, and the change.
SCENARIOS: dict[str, Any] = {
    "change_conversation": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, title="Rain"
        ),
    ),
    "change_conversation to what it is called": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, title=""
        ),
    ),
    "change_conversation in all that it has": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice,
            conversation_id=world.id,
            title="Rain",
            topic_text="Whether it rains",
            avatar="🌧️",
            access="listed",
            history="joined",
            policy={"send": "moderator"},
        ),
    ),
    "archive_conversation": _then(
        _nothing,
        lambda world, _: conversations.archive_conversation(
            user=world.alice, conversation_id=world.id
        ),
    ),
    "unarchive_conversation": _then(
        lambda world: conversations.archive_conversation(
            user=world.alice, conversation_id=world.id
        ),
        lambda world, _: conversations.unarchive_conversation(
            user=world.alice, conversation_id=world.id
        ),
    ),
    "name_conversation": _then(
        _nothing,
        lambda world, _: conversations.name_conversation(conversation_id=world.id, title="Weather"),
    ),
    "send_message": _then(_nothing, lambda world, _: world.say(world.bob)),
    "send_message to the assistant": _then(
        _nothing, lambda world, _: world.say(world.bob, assistant="assistant")
    ),
    "send_message twice": _then(
        lambda world: world.say(client_id="once"), lambda world, _: world.say(client_id="once")
    ),
    "send_message in answer to another": _then(
        World.say, lambda world, said: world.say(world.bob, parent=said.pk)
    ),
    "delete_message": _then(
        lambda world: world.say(world.bob),
        lambda world, said: messages.delete_message(user=world.bob, message_id=said.pk),
    ),
    "delete_message twice": _then(
        lambda world: (said := world.say(), world.delete(said))[0],
        lambda world, said: world.delete(said),
    ),
    "delete_message that is replied to": _then(
        World.streaming,
        lambda world, claim: world.delete(Message.objects.get(pk=claim.message.parent_id)),
    ),
    "delete_message while it streams": _then(
        World.streaming, lambda world, claim: world.delete(claim.message)
    ),
    "claim_reply": _then(
        lambda world: world.say(assistant="assistant"), lambda world, reply: world.claim(reply)
    ),
    "claim_reply of a lost worker": _then(
        World.streaming, lambda world, claim: world.claim(claim.message)
    ),
    "claim_reply and say more": _then(
        World.streaming,
        lambda world, claim: world.flush(world.claim(claim.message), "Yes."),
    ),
    "claim_reply of what was to stop": _then(
        _stopped_while_streaming,
        lambda world, claim: replies.claim_reply(
            message_id=claim.message.pk, conversation_id=world.id
        ),
    ),
    "claim_reply too often": _then(
        _claimed_five_times,
        lambda world, reply: replies.claim_reply(message_id=reply.pk, conversation_id=world.id),
    ),
    "finish_reply": _then(World.streaming, lambda world, claim: world.finish(claim)),
    "finish_reply as failed": _then(
        World.streaming, lambda world, claim: world.finish(claim, "failed")
    ),
    "finish_reply as cancelled": _then(
        _stopped_while_streaming, lambda world, claim: world.finish(claim, "cancelled")
    ),
    "finish_reply as interrupted": _then(
        World.streaming, lambda world, claim: world.finish(claim, "interrupted")
    ),
    "finish_reply again": _then(_ended, lambda world, claim: world.finish(claim)),
    "finish_reply too late": _then(
        lambda world: (claim := world.streaming(), world.claim(claim.message))[0],
        lambda world, claim: world.finish(claim),
    ),
    "hand_back_reply": _then(
        World.streaming,
        lambda world, claim: replies.hand_back_reply(
            message_id=claim.message.pk, conversation_id=world.id, attempt=claim.attempt
        ),
    ),
    "request_stop before it begins": _then(
        lambda world: world.say(assistant="assistant"), lambda world, reply: _stop(world, reply)
    ),
    "request_stop while it streams": _then(
        World.streaming, lambda world, claim: _stop(world, claim.message)
    ),
    "request_stop too late": _then(_ended, lambda world, claim: _stop(world, claim.message)),
    "regenerate": _then(_ended, _again),
    "regenerate what was stopped": _then(_stopped_then_lost, _again),
    "regenerate twice": _then(
        lambda world: (claim := _ended(world), _again(world, claim))[0], _again
    ),
    "continue_reply": _then(_stopped_then_lost, _go_on),
    "continue_reply twice": _then(_going_on, _go_on),
    "continue_reply, then claim it and say more": _then(
        _stopped_then_lost,
        lambda world, claim: (
            _go_on(world, claim),
            world.flush(world.claim(claim.message), "at all."),
        ),
    ),
    "continue_reply, then stop it": _then(
        _going_on, lambda world, claim: _stop(world, claim.message)
    ),
    "edit_message": _then(World.say, _edit),
    "edit_message to what it says": _then(
        lambda world: _edit(world, world.say()).message, lambda world, said: _edit(world, said)
    ),
    "edit_message as a branch": _then(
        lambda world: world.claim(world.say()).message.parent,
        lambda world, said: _edit(world, said),
    ),
    "edit_message as a branch, twice": _then(
        lambda world: (reply := world.say(), _edit(world, reply.parent, "once"))[0].parent,
        lambda world, said: _edit(world, said, "once"),
    ),
    "retitle_as_staff": _then(
        _nothing,
        lambda world, _: staff.retitle_as_staff(conversation_id=world.id, title="Rain"),
    ),
    "add_member_as_staff": _then(
        _nothing,
        lambda world, _: staff.add_member_as_staff(conversation_id=world.id, user=world.charlie),
    ),
    "change_member_as_staff": _then(
        _with_charlie,
        lambda world, member: staff.change_member_as_staff(
            member=member, role="admin", nickname="Charles"
        ),
    ),
    "remove_member_as_staff": _then(
        _with_charlie, lambda world, member: staff.remove_member_as_staff(member=member)
    ),
    "add_member": _then(_nothing, lambda world, _: _with_charlie(world)),
    "add_member again": _then(_charlie_left, lambda world, _: _with_charlie(world)),
    "remove_member": _then(
        _with_charlie,
        lambda world, member: members.remove_member(
            user=world.alice, conversation_id=world.id, member_id=member.pk
        ),
    ),
    "remove_member, oneself": _then(
        _nothing,
        lambda world, _: members.remove_member(
            user=world.bob, conversation_id=world.id, member_id=world.member(world.bob)
        ),
    ),
    "change_member": _then(
        _nothing,
        lambda world, _: members.change_member(
            user=world.alice,
            conversation_id=world.id,
            member_id=world.member(world.bob),
            role="admin",
            nickname="Bobby",
        ),
    ),
    "join_room": _then(
        lambda world: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, access="open"
        ),
        lambda world, _: joining.join_room(user=world.charlie, conversation_id=world.id),
    ),
    "request_to_join": _then(_listed, lambda world, _: _ask(world)),
    "decide_request": _then(
        lambda world: (_listed(world), _ask(world))[1],
        lambda world, request: joining.decide_request(
            user=world.alice, conversation_id=world.id, request_id=request.pk, accept=True
        ),
    ),
    "create_invitation": _then(_nothing, lambda world, _: _invite(world)),
    "change_invitation": _then(
        lambda world: _invite(world),
        lambda world, link: joining.change_invitation(
            user=world.alice, conversation_id=world.id, invitation_id=link.pk, renew=True
        ),
    ),
    "revoke_invitation": _then(
        lambda world: _invite(world),
        lambda world, link: joining.revoke_invitation(
            user=world.alice, conversation_id=world.id, invitation_id=link.pk
        ),
    ),
    "take_invitation": _then(
        lambda world: _invite(world),
        lambda world, link: joining.take_invitation(
            user=world.charlie, token=invitation_token(link)
        ),
    ),
    "take_invitation_as_guest": _then(
        lambda world: _invite(world, guests=True),
        lambda world, link: joining.take_invitation_as_guest(
            name="Dora", token=invitation_token(link)
        ),
    ),
    "remove_invited": _then(
        _taken,
        lambda world, link: joining.remove_invited(
            user=world.alice, conversation_id=world.id, invitation_id=link.pk
        ),
    ),
    "ban_member": _then(
        _with_charlie,
        lambda world, member: members.ban_member(
            user=world.alice, conversation_id=world.id, member_id=member.pk
        ),
    ),
    "lift_ban": _then(
        lambda world: members.ban_member(
            user=world.alice, conversation_id=world.id, member_id=_with_charlie(world).pk
        ),
        lambda world, ban: members.lift_ban(
            user=world.alice, conversation_id=world.id, ban_id=ban.pk
        ),
    ),
    "change_mine": _then(
        _nothing,
        lambda world, _: mine.change_mine(user=world.bob, conversation_id=world.id, level="none"),
    ),
    "mark_read": _then(
        World.say,
        lambda world, said: mine.mark_read(
            user=world.bob, conversation_id=world.id, number=said.number
        ),
    ),
    "count_reactions": _then(
        lambda world: (said := world.say(), world.react(world.alice, said, "👍"))[0],
        lambda world, said: (world.react(world.bob, said, "👍"), world.count()),
    ),
    "count_reactions under two messages": _then(
        lambda world: [world.say(), world.say()],
        lambda world, said: (
            world.react(world.alice, said[0], "👍"),
            world.react(world.alice, said[1], "🎉"),
            world.react(world.bob, said[1], "❤"),
            world.count(),
        ),
    ),
    "count_reactions taken back": _then(
        lambda world: (
            said := world.say(),
            world.react(world.alice, said, "👍"),
            world.react(world.bob, said, "👍"),
            world.count(),
        )[0],
        lambda world, said: (world.react(world.alice, said, "👍", on=False), world.count()),
    ),
    "count_reactions that were taken back before": _then(
        lambda world: (said := world.say(), world.react(world.alice, said, "👍"))[0],
        lambda world, said: (world.react(world.alice, said, "👍", on=False), world.count()),
    ),
    "mark_read back": _then(
        lambda world: mine.mark_read(
            user=world.bob, conversation_id=world.id, number=world.say().number
        ),
        lambda world, _: mine.mark_read(user=world.bob, conversation_id=world.id, number=1),
    ),
}


def test_every_service_that_changes_a_conversation_is_among_the_scenarios() -> None:
    modules = [
        importlib.import_module(f"chat.services.{found.name}")
        for found in pkgutil.iter_modules(chat.services.__path__)
    ]
    assert reply_actions in modules
    services = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_")
        and function.__module__ == module.__name__
        and "changing(" in inspect.getsource(function)
    } - {"changing"}
    # What a deletion leaves cannot be fetched, and before a creation there is nothing.
    apart = {"delete_conversation", "delete_conversation_as_staff", "create_conversation"}
    apart |= {"open_direct"}
    assert len(services) > 10
    # These change nothing that anyone else sees.
    services |= {"mark_read", "change_mine"}
    assert services - apart == {
        name.replace(",", "").split("'")[0].split()[0] for name in SCENARIOS
    }


def loaded(answer: Frame, me: str = "") -> Known:
    """A client that has just come."""
    known = Known(me)
    known.subscribing()
    known.load(answer)
    return known


def kind_of(scenario: str) -> str:
    """Branches are made in a conversation with an assistant, where history is a tree."""
    return "assistant" if "branch" in scenario else "group"


def record(world: World, scenario: str) -> tuple[Frame, list[Frame], Frame]:
    """Play a scenario: what is fetched before, the events, what is fetched afterwards."""
    prepare, act = SCENARIOS[scenario]
    prepared = prepare(world)
    before = world.fetch()
    world.published.clear()
    act(world, prepared)
    return before, list(world.published), world.fetch()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_events_of_a_change_lead_to_the_state_fetched_afresh(
    open_world: Callable[..., World], scenario: str
) -> None:
    world = open_world(kind_of(scenario))
    before, events, after = record(world, scenario)

    known = loaded(before, str(world.alice.pk))
    for event in events:
        known.event(event)

    assert known.view() == loaded(after).view()
    assert not known.has_gap
    # Nothing was told that did not happen, and each change in its own event.
    told = [event["seq"] for event in events if event["type"] != "reply.delta"]
    if told and max(told) > before["seq"]:
        assert told == list(range(before["seq"] + 1, after["seq"] + 1))
    else:
        assert after["seq"] == before["seq"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_who_missed_the_events_is_brought_to_the_same_state(
    open_world: Callable[..., World], scenario: str
) -> None:
    world = open_world(kind_of(scenario))
    before, events, after = record(world, scenario)

    known = loaded(before, str(world.alice.pk))
    known.subscribing()
    known.load(world.fetch(since=known.since))
    # Late ones change nothing any more.
    for event in reversed(events):
        known.event(event)

    assert known.view() == loaded(after).view()
    assert not known.has_gap


@pytest.mark.parametrize("by_staff", [False, True])
def test_a_deleted_conversation_is_known_to_be_gone(
    open_world: Callable[..., World], by_staff: bool
) -> None:
    world = open_world()
    known = loaded(world.fetch())
    world.published.clear()

    if by_staff:
        staff.delete_conversation_as_staff(conversation_id=world.id)
    else:
        conversations.delete_conversation(user=world.alice, conversation_id=world.id)

    for event in world.published:
        known.event(event)
    assert known.deleted


def test_a_new_conversation_is_whole_by_its_first_events(
    open_world: Callable[..., World],
) -> None:
    """Who hears everything from the start knows what is fetched: members are told one by one."""
    fetched = open_world().fetch()

    assert fetched["seq"] == len(fetched["members"])
    assert sorted(row["seq"] for row in fetched["members"]) == [1, 2, 3]


# --- Random sequences, random reconnects -----------------------------------------------------


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
        acts.append(lambda: _stop(world, source.choice(active)))
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
    acts.append(world.count)
    own = Message.objects.filter(conversation_id=world.id, author_user=world.alice)
    if own.exists() and room:
        acts.append(lambda: _edit(world, source.choice(list(own))))
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


def _join_or_leave(world: World) -> None:
    present = Member.objects.filter(
        conversation_id=world.id, user=world.charlie, left_at=None
    ).first()
    if present is None:
        _with_charlie(world)
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


@pytest.mark.timeout(240)
@settings(
    max_examples=20,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kind=st.sampled_from(["group", "assistant"]),
    seed=st.integers(0, 2**32),
    steps=st.integers(5, 30),
)
def test_whatever_happens_and_whoever_reconnects_all_know_the_same(
    open_world: Callable[..., World], kind: str, seed: int, steps: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Small, so that answers come in parts and first loads leave history out.
        patch.setattr(limits, "MAX_CHANGES", 4)
        patch.setattr(limits, "PAGE", 6)
        for client, fetched in play(open_world(kind), random.Random(seed), steps):
            fresh = loaded(fetched)
            assert client.known.view(fresh.oldest) == fresh.view(client.known.oldest)
            assert not client.known.has_gap


# --- The frontend's own reducer --------------------------------------------------------------


@pytest.mark.timeout(240)
def test_the_frontends_reducer_comes_to_the_same_states(
    open_world: Callable[..., World], tmp_path: Path
) -> None:
    cases: list[Frame] = []
    for scenario in SCENARIOS:
        world = open_world(kind_of(scenario))
        before, events, after = record(world, scenario)
        me = str(world.alice.pk)
        inputs = [{"type": "subscribing"}, {"type": "changes", "changes": before}]
        inputs += [{"type": "event", "event": event} for event in events]
        cases.append({"name": scenario, "me": me, "inputs": inputs, "expected": after})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_CHANGES", 4)
        patch.setattr(limits, "PAGE", 6)
        for seed in range(6):
            world = open_world("assistant" if seed % 2 else "group")
            for number, (client, fetched) in enumerate(play(world, random.Random(seed), 30)):
                name = f"random sequence {seed}, client {number}"
                cases.append(
                    {
                        "name": name,
                        "me": client.me,
                        "inputs": client.inputs,
                        "expected": fetched,
                    }
                )
    play_to_the_frontend("equivalence.test.ts", cases, tmp_path)
