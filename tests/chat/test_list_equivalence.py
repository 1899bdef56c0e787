"""A list kept by what one is told == a list asked for == a recount of every row.

Two people with five devices each do what they like to three conversations; frames come late,
in another order, twice or, with a connection, not at all.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.models import User
from chat import unread
from chat.models import Assistant, Conversation, Group, Member, Mention, Message, ReadState
from chat.selectors import rooms
from chat.selectors.blocks import blocked_ids
from chat.selectors.rooms import person_changes
from chat.services import (
    blocks,
    conversations,
    members,
    messages,
    mine,
    reactions,
    replies,
    staff,
    threads,
)
from chat.services.replies import Outcome
from chat.socket.pending_touches import rooms_touched
from chat.unread import Touch
from core import publishing
from core.publishing import Publication, user_group
from tests.chat.recordings import play_to_the_frontend
from tests.faults.known import Frame, KnownRooms

pytestmark = pytest.mark.django_db(transaction=True)


# "both" is a group of alice and bob.
WORDS = ["x", "yes", "no 🙂", "@alice", "hey @bob!", "@alice and @bob", "@all", "@both", "`@alice`"]


class Device:
    """One client's list; what it is told waits until it is delivered."""

    def __init__(self, user: User, source: random.Random) -> None:
        self.user = user
        self.known = KnownRooms()
        # All that it was told, for other reducers.
        self.inputs: list[Frame] = []
        self._source = source
        self._waiting: list[Frame] = []
        self._connected = False

    def tell(self, frame: Frame) -> None:
        """Send it a frame, which a broken connection loses."""
        if self._connected:
            self._waiting.append(frame)

    def deliver(self, *, everything: bool = False) -> None:
        """Let some of what waits arrive, not always in order, and sometimes again."""
        while self._waiting and (everything or self._source.random() < 0.7):
            place = self._source.randrange(min(len(self._waiting), 3))
            frame = self._waiting.pop(place)
            for _ in range(1 + (self._source.random() < 0.1)):
                self.known.event(frame)
                self.inputs.append({"type": "event", "event": frame})

    def disconnect(self) -> None:
        """Lose the connection, and what was on its way."""
        self._waiting.clear()
        self._connected = False

    def sync(self) -> None:
        """Connect, and ask for what is missing, page by page; frames arrive meanwhile."""
        connected, self._connected = self._connected, True
        if connected and not self.known.wants_sync:
            return
        while True:
            asked = self.known.ask()
            self.inputs.append({"type": "asking"})
            answer = json.loads(person_changes(user=self.user, **asked).model_dump_json())
            self.deliver()
            self.known.load(answer)
            self.inputs.append({"type": "changes", "changes": answer})
            if answer["complete"]:
                break

    def forget(self) -> None:
        """Load the page again."""
        self.disconnect()
        self.known = KnownRooms()
        self.inputs.clear()

    def settle(self) -> None:
        """Come to know everything."""
        self.sync()
        self.deliver(everything=True)
        self.sync()
        assert not self.known.wants_sync


class World:
    """Alice, bob, three conversations of theirs, and what is published."""

    def __init__(self, alice: User, bob: User, assistant: Assistant, seed: int) -> None:
        self.people = [alice, bob]
        self.source = random.Random(seed)
        self.devices = [Device(user, self.source) for user in self.people for _ in range(5)]
        self.assistant = assistant
        self.rooms: list[UUID] = []
        # Messages and people who blocked their author when they were worded: it names them not.
        self.unheard: set[tuple[UUID, UUID]] = set()

    def published(self, *publications: Publication) -> None:
        """Pass on what concerns lists, as sockets and rosters do."""
        for publication in publications:
            message = publication.message
            if message["type"] == "room.deleted":
                for device in self.devices:
                    device.tell(json.loads(message["frame"]))
            elif publication.group.startswith("user."):
                for device in self.devices:
                    if publication.group == user_group(device.user.pk):
                        frame = json.loads(message["frame"])
                        if frame["type"] in {"mine.updated", "block.updated"}:
                            device.tell(frame)

    def touched(self, touch: Touch) -> None:
        """Pass a touch on to whoever is in the conversation."""
        inside = set(
            ReadState.objects.filter(conversation=touch.conversation, gone=False).values_list(
                "user_id", flat=True
            )
        )
        for device in self.devices:
            if device.user.pk in inside:
                frame = rooms_touched([touch], device.user.pk.hex)
                device.tell(json.loads(frame.model_dump_json()))

    def check(self) -> None:
        """Every device shows what is fetched afresh, which is what a recount gives."""
        for user in self.people:
            asking = Device(user, self.source)
            asking.sync()
            fresh = asking.known
            present = Member.objects.present().filter(user=user).values("conversation")
            inside = ReadState.objects.filter(
                user=user, follows=True, access_id__in=present, conversation__deleted_at=None
            ).values("conversation")
            assert set(fresh.rooms) == {str(one["conversation"]) for one in [*present, *inside]}
            view = fresh.view()
            for state in ReadState.objects.filter(user=user, gone=False, conversation__in=view):
                counted = Message.objects.live().filter(
                    conversation=state.conversation_id, number__gt=state.read
                )
                shown = view[str(state.conversation_id)]
                naming = [one for one in counted if self.names(one, user)]
                assert shown["mentions"] == len(naming)
                rows = Mention.objects.filter(
                    conversation=state.conversation_id, user=user, number__gt=state.read
                )
                assert {row.message_id for row in rows} == {
                    one.pk for one in naming if self.names(one, user, everyone=False)
                }
                assert (shown["unread"], shown["read"]) == (counted.count(), state.read)
            for device in self.devices:
                if device.user == user:
                    device.settle()
                    assert device.known.view() == view
                    assert device.known.blocks == fresh.blocks
            assert fresh.blocks == [str(one) for one in blocked_ids(user.pk)]

    # --- What happens ------------------------------------------------------------------------

    def act(self) -> None:
        """Do something that is possible just now."""
        source = self.source
        user, other = source.sample(self.people, 2)
        if len(self.rooms) < 3:
            self.open(user, other)
            return
        conversation = source.choice(self.rooms)
        present = Member.objects.present().filter(conversation=conversation)
        own = present.filter(user=user).first()
        acts: list[Callable[[], object]] = [
            lambda: self.sign(source.choice(self.devices)),
            lambda: blocks.block(user=user, person=other.pk, on=source.random() < 0.5),
        ]
        if own is None:
            acts.append(lambda: self.bring_back(conversation, user))
        else:
            number = Conversation.objects.get(pk=conversation).number
            acts += [lambda: self.say(user, conversation)] * 4
            acts += [lambda: self.reply_in_thread(user, conversation)] * 3
            acts += [lambda: self.in_thread(user, conversation)] * 2
            acts += [
                lambda: mine.mark_read(
                    user=user,
                    conversation_id=conversation,
                    number=source.randint(0, number + 1),
                ),
                lambda: self.mark_unread(user, conversation),
                lambda: mine.change_mine(
                    user=user,
                    conversation_id=conversation,
                    pinned=source.choice([None, 1, 2]),
                    level=source.choice(["all", "none"]),
                ),
                lambda: self.delete_one(conversation),
                lambda: self.reword_one(user, conversation),
                lambda: self.ask(user, conversation),
                lambda: self.finish_one(conversation),
            ]
            if own.role == Member.Role.OWNER:
                acts += [
                    lambda: conversations.change_conversation(
                        user=user,
                        conversation_id=conversation,
                        title=source.choice(["a", "b"]),
                    ),
                    lambda: self.remove(user, conversation, other),
                ]
                if source.random() < 0.2:
                    acts.append(lambda: self.end(user, conversation))
        source.choice(acts)()

    def open(self, user: User, other: User) -> None:
        # Who blocks one cannot be invited by them.
        blocks.block(user=other, person=user.pk, on=False)
        opened = conversations.create_conversation(
            user=user, kind="group", assistant="assistant", members=[other.pk]
        )
        self.rooms.append(opened.pk)

    def end(self, user: User, conversation: UUID) -> None:
        self.rooms.remove(conversation)
        conversations.delete_conversation(user=user, conversation_id=conversation)

    def say(self, user: User, conversation: UUID, **options: Any) -> object:
        sent = messages.send_message(
            user=user,
            conversation_id=conversation,
            client_id=uuid4().hex,
            content=self.source.choice(WORDS),
            **options,
        )
        self.worded(sent.message, user)
        return sent

    def reply_in_thread(self, user: User, conversation: UUID) -> None:
        said = Message.objects.live().filter(conversation=conversation).order_by("?").first()
        if said is not None:
            threads.reply_in_thread(
                user=user,
                message_id=said.pk,
                client_id=uuid4().hex,
                content="so",
                also_in_room=self.source.random() < 0.2,
            )

    def in_thread(self, user: User, room: UUID) -> None:
        """Read in a thread, follow it or not, or take something back that was said in it."""
        found = Conversation.objects.live().filter(parent=room).order_by("?").first()
        if found is None:
            return
        act = self.source.choice(["read", "follow", "unfollow", "delete", "delete", "end"])
        if act == "read":
            read = self.source.randint(0, found.number)
            mine.mark_read(user=user, conversation_id=found.pk, number=read)
        elif act == "delete":
            self.delete_one(found.pk, room)
        elif act == "end":
            staff.delete_conversation_as_staff(conversation_id=found.pk)
        else:
            mine.change_mine(user=user, conversation_id=found.pk, follows=act == "follow")

    def ask(self, user: User, conversation: UUID) -> None:
        waiting = Message.objects.active().filter(conversation=conversation).count()
        if waiting < replies.MAX_WAITING_REPLIES:
            self.say(user, conversation, assistant="assistant")

    def finish_one(self, conversation: UUID) -> None:
        reply = Message.objects.active().filter(conversation=conversation).order_by("?").first()
        if reply is None:
            return
        claim = replies.claim_reply(message_id=reply.pk, conversation_id=conversation)
        if claim is not None:
            replies.finish_reply(
                message_id=reply.pk,
                conversation_id=conversation,
                attempt=claim.attempt,
                outcome=Outcome(
                    status=self.source.choice(["complete", "failed"]),
                    content=self.source.choice(["", "said"]),
                ),
            )

    def delete_one(self, conversation: UUID, room: UUID | None = None) -> None:
        message = Message.objects.live().filter(conversation=conversation).order_by("?").first()
        owner = Member.objects.get(conversation=room or conversation, role="owner").user
        if message is not None and owner is not None:
            messages.delete_message(user=owner, message_id=message.pk)

    def mark_unread(self, user: User, conversation: UUID) -> None:
        joined = Member.objects.present().get(conversation=conversation, user=user).joined_seq
        said = Message.objects.filter(conversation=conversation, number__isnull=False)
        # A group that was named before they came did not name them.
        message = said.filter(created_seq__gt=joined).order_by("?").first()
        if message is not None:
            mine.mark_unread(user=user, conversation_id=conversation, message_id=message.pk)

    def reword_one(self, user: User, conversation: UUID) -> None:
        said = Message.objects.live().filter(conversation=conversation, author_user=user)
        message = said.order_by("?").first()
        if message is not None:
            content = self.source.choice(WORDS)
            messages.edit_message(
                user=user, message_id=message.pk, client_id=uuid4().hex, content=content
            )
            if content != message.content:
                self.worded(message, user)

    def names(self, message: Message, person: User, *, everyone: bool = True) -> bool:
        """Whether a message names a person, by what it says and by who was there."""
        if message.author_user_id == person.pk:
            return False
        told = {str(person.pk)} | {str(one.pk) for one in Group.objects.filter(people=person)}
        heard = (message.pk, person.pk) not in self.unheard
        return any(
            (one["id"] in told and heard) or (everyone and one["type"] == "all")
            for one in message.mentions
        )

    def worded(self, message: Message, author: User) -> None:
        """Note who does not hear of a wording."""
        for person in self.people:
            entry = (message.pk, person.pk)
            self.unheard.discard(entry)
            if author.pk in blocked_ids(person.pk):
                self.unheard.add(entry)

    def remove(self, user: User, conversation: UUID, other: User) -> None:
        member = Member.objects.present().filter(conversation=conversation, user=other).first()
        if member is not None:
            members.remove_member(user=user, conversation_id=conversation, member_id=member.pk)

    def bring_back(self, conversation: UUID, user: User) -> None:
        owner = Member.objects.get(conversation=conversation, role=Member.Role.OWNER).user
        assert owner is not None
        blocks.block(user=user, person=owner.pk, on=False) if owner != user else None
        members.add_member(user=owner, conversation_id=conversation, person=user.pk)

    def sign(self, device: Device) -> None:
        """Something about a connection."""
        self.source.choice(
            [
                device.disconnect,
                device.sync,
                device.deliver,
                device.forget,
            ]
        )()


@pytest.fixture
def new_world(
    alice: User, bob: User, assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], World]:
    """`new_world(seed)`: of all worlds so far, the one that hears what is published."""

    def new(seed: int) -> World:
        _clear()
        world = World(alice, bob, assistant, seed)
        Group.objects.get_or_create(slug="both")[0].people.set([alice, bob])
        monkeypatch.setattr(publishing, "publish_now", world.published)
        monkeypatch.setattr(unread, "_touch", world.touched)
        monkeypatch.setattr(reactions._counting, "soon", lambda conversation: None)
        return world

    monkeypatch.setattr(rooms, "FIRST_ROOMS", 2)
    monkeypatch.setattr(rooms, "MAX_ROOMS", 2)
    return new


def live(world: World, steps: int) -> None:
    """Let things happen, and look now and then whether everyone knows of them."""
    for device in world.devices:
        device.sync()
    for _ in range(steps):
        world.act()
        for device in world.devices:
            device.deliver()
        if world.source.random() < 0.3:
            world.check()
    world.check()


@given(seed=st.integers(0, 2**32))
@settings(
    max_examples=12,
    deadline=None,
    # A seed that fails says as much as a smaller one would.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_every_device_counts_what_a_recount_gives(
    new_world: Callable[[int], World], seed: int
) -> None:
    live(new_world(seed), 40)


def test_the_frontends_reducer_comes_to_the_same_lists(
    new_world: Callable[[int], World], tmp_path: Path
) -> None:
    cases: list[Frame] = []
    for seed in range(6):
        world = new_world(seed)
        live(world, 40)
        cases += [
            {
                "name": f"random sequence {seed}, device {number}",
                "inputs": device.inputs,
                "expected": {"rooms": device.known.view(), "blocks": device.known.blocks},
            }
            for number, device in enumerate(world.devices)
        ]
    play_to_the_frontend("list_equivalence.test.ts", cases, tmp_path)


def _clear() -> None:
    ReadState.objects.all().delete()
    Mention.objects.all().delete()
    Message.objects.all().update(parent=None)
    Conversation.objects.all().delete()
