"""Reactions: who may give them, what they cost, and that tallies are what a recount gives."""

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Conversation, Member, Message, Reaction, Tally
from chat.selectors.sync import changes_since
from chat.services import reactions
from chat.services.conversations import create_conversation, delete_conversation
from chat.services.members import remove_member
from chat.services.messages import delete_message, send_message
from chat.services.purge import purge_some
from core.errors import NotFound
from protocol.limits import MAX_REACTIONS

pytestmark = pytest.mark.django_db(transaction=True)

Api = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reactions are counted when a test says so."""
    monkeypatch.setattr(reactions._counting, "soon", lambda conversation: None)
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)


@pytest.fixture
def said(alice: User, group: Conversation) -> Message:
    """What alice said to bob."""
    return send_message(
        user=alice, conversation_id=group.pk, client_id="1", content="hello"
    ).message


def give(user: User, message: Message, emoji: str = "👍", *, on: bool = True) -> Any:
    """React."""
    return reactions.react(user=user, message_id=message.pk, emoji=emoji, on=on)


def count(conversation: Conversation) -> int:
    """Count until all is counted; return the conversation's seq."""
    while reactions.count_reactions(conversation_id=conversation.pk):
        pass
    conversation.refresh_from_db()
    return conversation.seq


def counted(message: Message) -> dict[str, int]:
    """What is stored under a message."""
    stored = Tally.objects.filter(message=message).values_list("reactions", flat=True).first()
    return {kind["emoji"]: kind["count"] for kind in stored or []}


def address(message: Message, emoji: str = "👍") -> str:
    """Where one's own reaction is."""
    return f"/api/messages/{message.pk}/reactions/{emoji}/"


def crowd(conversation: Conversation, size: int) -> list[User]:
    """So many more members."""
    people = User.objects.bulk_create([User(username=f"person{n}") for n in range(size)])
    Member.objects.bulk_create(
        [Member(conversation=conversation, user=person) for person in people]
    )
    return people


def test_members_react_and_strangers_find_nothing(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, said: Message
) -> None:
    answer = api(bob).put(address(said))
    assert answer.status_code == 200
    assert answer.json()["tally"]["reactions"] == [
        {"emoji": "👍", "count": 1, "users": [str(bob.pk)]}
    ]
    assert answer.json()["tally"]["mine"] == ["👍"]
    for method in ("put", "delete"):
        assert getattr(api(charlie), method)(address(said)).status_code == 404
    assert api(charlie).get(f"/api/messages/{said.pk}/reactions/").status_code == 404
    assert api().put(address(said)).status_code == 401

    count(group)
    both = api(alice).put(address(said)).json()["tally"]["reactions"]
    assert both == [{"emoji": "👍", "count": 2, "users": [str(bob.pk), str(alice.pk)]}]
    count(group)
    left = api(bob).delete(address(said)).json()["tally"]
    assert left["reactions"] == [{"emoji": "👍", "count": 1, "users": [str(alice.pk)]}]
    assert left["mine"] == []
    count(group)
    assert counted(said) == {"👍": 1}


def test_who_left_may_not_react_any_more(bob: User, group: Conversation, said: Message) -> None:
    member = Member.objects.get(conversation=group, user=bob)
    remove_member(user=bob, conversation_id=group.pk, member_id=member.pk)
    with pytest.raises(NotFound):
        give(bob, said)


def test_a_deleted_message_takes_no_reaction_and_gives_one_back(
    api: Api, alice: User, bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    count(group)
    delete_message(user=alice, message_id=said.pk)
    assert api(bob).put(address(said, "🎉")).json()["code"] == "conflict"
    assert api(bob).delete(address(said)).status_code == 200


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("❤️", "❤"),
        ("👍🏽", "👍🏽"),
        ("👨‍👩‍👧", "👨‍👩‍👧"),
        ("🇩🇪", "🇩🇪"),
        ("1️⃣", "1⃣"),
        (":party_parrot:", ":party_parrot:"),
    ],
)
def test_one_emoji_has_one_spelling(
    api: Api, bob: User, said: Message, sent: str, stored: str
) -> None:
    assert api(bob).put(address(said, sent)).json()["tally"]["mine"] == [stored]
    assert api(bob).put(address(said, stored)).json()["tally"]["mine"] == [stored]


@pytest.mark.parametrize("wrong", ["a", "👍👍", "👍 ", ":Not this:", "❤" * 40, "\u200d", "🇩"])
def test_what_is_not_one_emoji_is_refused(api: Api, bob: User, said: Message, wrong: str) -> None:
    assert api(bob).put(address(said, wrong)).json()["code"] == "invalid"


def test_a_message_has_so_many_kinds_and_no_more_however_many_come_at_once(
    group: Conversation, said: Message
) -> None:
    people = crowd(group, 30)
    kinds = [f":kind{number}:" for number in range(30)]

    def one(number: int) -> bool:
        try:
            give(people[number], said, kinds[number])
        except reactions.TooManyReactions:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(one, range(30)))

    assert sum(taken) == MAX_REACTIONS
    count(group)
    assert len(counted(said)) == MAX_REACTIONS
    # One more of a kind that is there is welcome, and one that goes makes room.
    first, missing = taken.index(True), taken.index(False)
    give(people[missing], said, kinds[first])
    give(people[missing], said, kinds[first], on=False)
    give(people[first], said, kinds[first], on=False)
    give(people[missing], said, kinds[missing])


def test_two_who_bring_the_last_kind_at_once_do_not_both_bring_it(
    group: Conversation, said: Message
) -> None:
    people = crowd(group, MAX_REACTIONS + 1)
    for number in range(MAX_REACTIONS - 1):
        give(people[number], said, f":kind{number}:")

    def last() -> bool:
        try:
            give(people[-1], said, ":last:")
        except reactions.TooManyReactions:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            give(people[-2], said, ":one:")
            other = pool.submit(last)
            waiting = False
            # It waits for this one's lock, or is done without.
            while not (waiting or other.done()):
                cursor.execute(
                    "SELECT EXISTS (SELECT FROM pg_locks"
                    " WHERE locktype = 'advisory' AND NOT granted)"
                )
                (waiting,) = cursor.fetchone()
        assert not other.result(timeout=20)


def test_a_reaction_is_two_statements_and_waits_for_no_lock_of_the_conversation(
    bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    locked = Conversation.objects.select_for_update().filter(pk=group.pk)
    with ThreadPoolExecutor(1) as pool:

        def measured() -> int:
            try:
                with CaptureQueriesContext(connection) as queries:
                    give(bob, said, "🎉")
                    give(bob, said, on=False)
                return len(queries)
            finally:
                connection.close()

        with transaction.atomic():
            assert list(locked)
            statements = pool.submit(measured).result(timeout=20)
    # BEGIN, two, COMMIT; twice.
    assert statements <= 8


def test_many_reactions_are_few_changes(group: Conversation, said: Message) -> None:
    people = crowd(group, 200)
    before = count(group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reactions, "INTERVAL", 3600.0)
        for person in people:
            give(person, said)
            reactions.count_reactions(conversation_id=group.pk)
    assert count(group) == before + 2
    assert counted(said) == {"👍": 200}
    stored = Tally.objects.get(message=said).reactions
    assert stored[0]["users"] == [str(person.pk) for person in people[:5]]


def test_what_changed_of_several_messages_is_one_change(
    alice: User, bob: User, group: Conversation, said: Message
) -> None:
    other = send_message(user=bob, conversation_id=group.pk, client_id="2", content="so").message
    before = count(group)
    give(alice, said)
    give(bob, other)
    assert count(group) == before + 1
    assert set(Tally.objects.values_list("seq", flat=True)) == {before + 1}


def test_what_is_taken_back_before_it_is_counted_changes_nothing(
    bob: User, group: Conversation, said: Message
) -> None:
    before = count(group)
    give(bob, said)
    give(bob, said, on=False)
    assert count(group) == before
    assert not Reaction.objects.exists()


def test_what_a_process_that_died_did_not_count_is_counted_by_the_worker(
    bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    reactions.count_missed()
    assert counted(said) == {"👍": 1}


def test_reactions_are_listed_by_pages_and_by_kind(
    api: Api, alice: User, bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    give(alice, said, "🎉")
    give(alice, said)
    client = api(alice)
    first = client.get(f"/api/messages/{said.pk}/reactions/", {"limit": 2}).json()
    rest = client.get(first["next"]).json()
    listed = [(row["emoji"], row["user"]["name"]) for row in first["results"] + rest["results"]]
    assert listed == [("👍", "bob"), ("🎉", "alice"), ("👍", "alice")]
    assert rest["next"] is None
    thumbs = client.get(f"/api/messages/{said.pk}/reactions/", {"emoji": "👍"}).json()
    assert [row["user"]["name"] for row in thumbs["results"]] == ["bob", "alice"]


def test_history_and_first_loads_say_what_is_ones_own(
    api: Api, alice: User, bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    seq = count(group)
    row = {
        "message": str(said.pk),
        "seq": seq,
        "reactions": [{"emoji": "👍", "count": 1, "users": [str(bob.pk)]}],
        "thread": None,
        "replies": 0,
        "replied_at": None,
        "repliers": [],
    }
    for user, mine in ((alice, []), (bob, ["👍"])):
        page = api(user).get(f"/api/conversations/{group.pk}/messages/").json()
        assert page["tallies"] == [{**row, "mine": mine}]
        changes = api(user).get(f"/api/conversations/{group.pk}/changes/").json()
        assert changes["tallies"] == [{**row, "mine": mine}]


def test_an_answer_in_parts_never_cuts_a_change_of_many_tallies(
    alice: User, bob: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocol.limits.MAX_CHANGES", 2)
    said = [
        send_message(user=alice, conversation_id=group.pk, client_id=f"{n}", content="so").message
        for n in range(5)
    ]
    since = count(group)
    for message in said:
        give(bob, message)
    seq = count(group)
    delete_message(user=alice, message_id=said[0].pk)

    answer = changes_since(user=alice, conversation_id=group.pk, since=since)

    assert (answer.seq, len(answer.tallies), answer.complete) == (seq, 5, False)


def test_the_reactions_of_a_deleted_conversation_go_with_it(
    alice: User, bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    count(group)
    give(bob, said, "🎉")
    delete_conversation(user=alice, conversation_id=group.pk)
    while purge_some(conversation_id=group.pk):
        pass
    assert not Reaction.objects.exists()
    assert not Tally.objects.exists()


def test_one_that_came_while_its_conversation_was_deleted_is_forgotten(
    alice: User, bob: User, group: Conversation, said: Message
) -> None:
    give(bob, said)
    delete_conversation(user=alice, conversation_id=group.pk)
    reactions.count_missed()
    assert not Reaction.objects.exists()


class _Died(Exception):
    """The counting process is no more."""


def _die_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def die(*_args: Any, **_kwargs: Any) -> None:
        raise _Died

    monkeypatch.setattr(f"chat.change.Change.{name}", die)


@pytest.fixture
def three(alice: User, bob: User, charlie: User) -> tuple[list[User], list[Message]]:
    """Three people, and three messages to react to."""
    room = create_conversation(
        user=alice, kind="group", title="Three", members=[bob.pk, charlie.pk]
    )
    said = [
        send_message(user=alice, conversation_id=room.pk, client_id=f"{n}", content="so").message
        for n in range(3)
    ]
    return [alice, bob, charlie], said


@pytest.mark.timeout(240)
@settings(
    max_examples=25,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_a_tally_is_what_a_recount_gives_whatever_happens_to_who_counts(
    three: tuple[list[User], list[Message]], seed: int, steps: int
) -> None:
    people, said = three
    source = random.Random(seed)
    room = said[0].conversation
    wanted: dict[tuple[User, Message, str], bool] = {
        (row.user, row.message, row.emoji): True
        for row in Reaction.objects.select_related("user", "message").filter(given=True)
    }
    for _ in range(steps):
        fate = source.random()
        if fate < 0.7:
            key = (source.choice(people), source.choice(said), source.choice("👍🎉🙂"))
            wanted[key] = source.random() < 0.6
            give(*key, on=wanted[key])
        elif fate < 0.8:
            with pytest.MonkeyPatch.context() as patch:
                _die_in(patch, source.choice(["tallied", "_finish"]))
                with contextlib.suppress(_Died):
                    reactions.count_reactions(conversation_id=room.pk)
        else:
            before = count(room)
            assert count(room) == before
    count(room)
    for message in said:
        recount = Counter(
            emoji for (_, where, emoji), on in wanted.items() if on and where == message
        )
        assert counted(message) == recount
    seqs = Tally.objects.values_list("seq", flat=True)
    assert all(seq <= Conversation.objects.get(pk=room.pk).seq for seq in seqs)


def test_reactions_from_all_sides_while_it_is_counted_are_all_counted(
    group: Conversation, said: Message
) -> None:
    people = crowd(group, 40)

    def busy(person: User) -> None:
        try:
            for _ in range(3):
                give(person, said)
                give(person, said, on=False)
                reactions.count_reactions(conversation_id=group.pk)
            give(person, said)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(busy, people))

    count(group)
    assert counted(said) == {"👍": 40}
    assert Reaction.objects.filter(given=True, counted=True).count() == 40
