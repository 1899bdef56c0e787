"""What people do now, from one `ws` process to another and to those who watch."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services.people import create_guest
from chat.models import Attendance, Conversation, Member
from chat.services.blocks import block
from chat.services.conversations import create_conversation
from chat.services.members import remove_member
from chat.services.presence import attend
from chat.socket import clock, live
from chat.socket import presence as presences
from chat.socket.roster import Roster
from core.threads import in_thread
from tests.chat.socket.client import DEADLINE, Socket, Token

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("layer_of_this_loop"),
]

ALICE, BOB = UUID(int=1), UUID(int=2)
ROOM = UUID(int=10).hex


class Ear:
    """A socket that keeps what it hears."""

    def __init__(self) -> None:
        self.active = False
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def push(self, message: dict[str, Any]) -> None:
        self.heard.put_nowait(json.loads(message["frame"]))

    async def membership_ended(self, event: dict[str, Any]) -> None:
        raise NotImplementedError

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.heard.get(), DEADLINE)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_INTERVAL", 0.02)
    monkeypatch.setattr(live, "_INTERVAL", 0.05)


@pytest.fixture
async def two() -> AsyncIterator[tuple[Roster, Roster]]:
    """The rosters of two processes, which hear each other over the layer."""
    one, other = Roster(), Roster()
    yield one, other
    for roster in (one, other):
        roster._stop()
        clock.clock.forget(roster.live)
        await asyncio.gather(*roster.live._tasks.values(), return_exceptions=True)


async def opened(roster: Roster, person: UUID, *rooms: str) -> Ear:
    ear = Ear()
    await roster.opened(person, ear, feed=1, conversations=rooms)
    return ear


async def said(roster: Roster) -> None:
    """Wait until a process has said who is there."""
    async with asyncio.timeout(DEADLINE):
        while roster.live._presences.unsaid or "say" in roster.live._tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_whoever_comes_to_one_process_is_seen_by_who_watches_in_another(
    two: tuple[Roster, Roster],
) -> None:
    one, other = two
    bob = await opened(other, BOB)
    (state,) = other.live.watch(bob, {ALICE: None}, by_sharing=False)
    assert state.presence == "offline"
    alice = await opened(one, ALICE)
    alice.active = True
    one.live.used(ALICE)
    frame = await bob.next()
    assert [person["presence"] for person in frame["people"]] == ["active"]


async def test_a_process_that_begins_learns_who_is_elsewhere(two: tuple[Roster, Roster]) -> None:
    one, other = two
    alice = await opened(one, ALICE)
    await opened(one, BOB)
    alice.active = True
    one.live.used(ALICE)
    await said(one)
    charlie = await opened(other, uuid4())
    await other.live.learned()
    other.live.watch(charlie, {ALICE: None, BOB: None}, by_sharing=False)
    seen: dict[str, str] = {}
    while len(seen) < 2:
        frame = await charlie.next()
        seen |= {person["user"]: person["presence"] for person in frame["people"]}
    assert seen == {str(ALICE): "active", str(BOB): "idle"}


async def test_a_process_that_begins_believes_what_another_wrote_down(
    two: tuple[Roster, Roster],
) -> None:
    """Killed and started again, alone, it shows nobody away who is coming back."""
    await in_thread(attend, process=uuid4(), active=[ALICE], idle=[])
    bob = await opened(two[0], BOB)
    await two[0].live.learned()
    (state,) = two[0].live.watch(bob, {ALICE: None}, by_sharing=False)
    assert state.presence == "active"


async def test_who_types_in_one_process_is_told_in_another(two: tuple[Roster, Roster]) -> None:
    one, other = two
    alice, bob = await opened(one, ALICE, ROOM), await opened(other, BOB, ROOM)
    one.live.typed(alice, ALICE, ROOM, active=True)
    assert (await bob.next())["users"] == [str(ALICE)]
    one.closed(ALICE, alice)
    assert (await bob.next())["users"] == []


async def test_those_who_are_sent_away_by_a_process_that_stops_are_not_gone(
    two: tuple[Roster, Roster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences, "LINGER", 0.0)
    one, other = two
    charlie = await opened(other, uuid4())
    other.live.watch(charlie, {ALICE: None, BOB: None}, by_sharing=False)
    alice = await opened(one, ALICE)
    assert (await charlie.next())["people"][0]["presence"] == "idle"
    one.live.leave()
    one.closed(ALICE, alice)
    # Whoever goes where nobody is sent away is gone, and is heard of later.
    bob = await opened(other, BOB)
    assert (await charlie.next())["people"][0]["user"] == str(BOB)
    other.closed(BOB, bob)
    assert [p["user"] for p in (await charlie.next())["people"]] == [str(BOB)]
    assert other.live._presences.state(ALICE).word == "idle"


async def test_a_process_writes_one_row_of_who_is_there(
    two: tuple[Roster, Roster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_ATTEND", 0.0)
    alice = await opened(two[0], ALICE)
    await opened(two[0], BOB)
    alice.active = True
    two[0].live.used(ALICE)
    async with asyncio.timeout(DEADLINE):
        rows = Attendance.objects.filter(active=[ALICE], idle=[BOB])
        while not await in_thread(rows.exists):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await in_thread(Attendance.objects.count) == 1


# --- Over a socket -------------------------------------------------------------------------------


async def test_presence_and_status_come_to_who_watches(
    alice: User, bob: User, token_for: Token, api: Callable[..., APIClient]
) -> None:
    async with Socket(await in_thread(token_for, bob)) as watcher:
        answer = await watcher.command("presence.watch", people=[str(alice.pk)])
        assert answer["people"] == [{"user": str(alice.pk), "presence": "offline", "status": None}]
        async with Socket(await in_thread(token_for, alice)) as socket:
            await socket.command("presence", active=True)
            await watcher.until("presence")
            status = {"emoji": "🍜", "text": "at lunch", "until": None}
            await in_thread(lambda: api(alice).put("/api/me/status/", status))
            async with asyncio.timeout(DEADLINE):
                while (person := (await watcher.until("presence"))["people"][0])["status"] is None:
                    pass
        assert person == {"user": str(alice.pk), "presence": "active", "status": status}
        again = await watcher.command("presence.watch", people=[str(alice.pk)])
        assert again["people"] == [person]


async def test_too_many_people_are_not_watched(alice: User, token_for: Token) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        people = [str(uuid4()) for _ in range(10_000)]
        refused = await socket.command("presence.watch", people=people)
        assert refused["code"] == "invalid"
        answer = await socket.command("presence.watch", people=people[:200])
        assert answer["people"] == []


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("everyone", "abc"), ("shared", "ab"), ("nobody", "b")],
)
async def test_who_may_see_whom_is_a_setting(
    alice: User,
    bob: User,
    charlie: User,
    group: Conversation,
    token_for: Token,
    settings: Any,
    visible: str,
    seen: str,
) -> None:
    settings.PRESENCE_VISIBLE = visible
    await in_thread(lambda: create_conversation(user=alice, kind="group", members=[charlie.pk]))
    people = [alice.pk, bob.pk, charlie.pk]
    async with Socket(await in_thread(token_for, bob)) as socket:
        answer = await socket.command("presence.watch", people=[str(one) for one in people])
    names = {str(person.pk): person.name[0] for person in (alice, bob, charlie)}
    assert sorted(names[state["user"]] for state in answer["people"]) == list(seen)


async def test_those_one_of_whom_blocks_the_other_do_not_see_each_other(
    alice: User, bob: User, token_for: Token
) -> None:
    async with (
        Socket(await in_thread(token_for, alice)) as first,
        Socket(await in_thread(token_for, bob)) as second,
    ):
        for socket, other in ((first, bob), (second, alice)):
            answer = await socket.command("presence.watch", people=[str(other.pk)])
            assert answer["people"][0]["presence"] == "idle"
        await in_thread(lambda: block(user=alice, person=bob.pk, on=True))
        for socket in (first, second):
            assert (await socket.until("presence"))["people"][0]["presence"] == "offline"
        for socket, other in ((first, bob), (second, alice)):
            answer = await socket.command("presence.watch", people=[str(other.pk)])
            assert answer["people"] == []


async def test_a_guest_sees_those_with_whom_they_are_in_a_room_and_no_longer_than_that(
    alice: User, bob: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    guest = await in_thread(lambda: create_guest(display_name="Gus"))
    await in_thread(lambda: Member.objects.create(conversation=group, user=guest, role="guest"))
    member = await in_thread(Member.objects.get, conversation=group, user=bob)
    async with (
        Socket(await in_thread(token_for, guest)) as socket,
        Socket(await in_thread(token_for, bob)) as other,
    ):
        people = [str(bob.pk), str(charlie.pk)]
        answer = await socket.command("presence.watch", people=people)
        assert [state["user"] for state in answer["people"]] == [str(bob.pk)]
        await in_thread(remove_member, user=alice, conversation_id=group.pk, member_id=member.pk)
        async with asyncio.timeout(DEADLINE):
            while (await socket.until("presence"))["people"][0]["presence"] != "offline":
                pass
        await other.command("presence", active=True)
        assert (await socket.command("presence.watch", people=people))["people"] == []
