"""Merging: dora was a guest in alice's room, and is bob or charlie."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Session, User
from accounts.services import create_guest, open_session
from chat.models import (
    Assistant,
    Conversation,
    Group,
    Invitation,
    Member,
    Mention,
    Message,
    ReadState,
    Report,
    Sanction,
)
from chat.selectors.blocks import blocked_ids
from chat.selectors.rooms import room_state
from chat.selectors.sync import changes_since
from chat.selectors.tallies import tallies_of
from chat.services import merging, reactions
from chat.services.blocks import block
from chat.services.conversations import change_conversation, create_conversation, open_direct
from chat.services.members import add_member, ban_member, change_member, remove_member
from chat.services.merging import merge_accounts, merge_in_conversation
from chat.services.messages import send_message
from chat.services.mine import mark_read
from chat.services.reactions import count_reactions, react
from chat.services.replies import Outcome, claim_reply, finish_reply
from core.threads import in_thread
from notifications.models import Notification
from notifications.services import notify
from tests.chat.socket.client import Socket

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dora(alice: User, group: Conversation) -> User:
    """A guest in alice's and bob's room."""
    guest = create_guest(display_name="Dora")
    member = add_member(user=alice, conversation_id=group.pk, person=guest.pk)
    Member.objects.filter(pk=member.pk).update(role="guest")
    return guest


def say(user: User, room: Conversation, text: str, **options: Any) -> Any:
    """Say something; return the message and its reply."""
    return send_message(user=user, conversation_id=room.pk, client_id=text, content=text, **options)


def begin(api: Api, account: User, guest: User, token: str = "") -> Any:
    """Ask for a merge, with a token of each."""
    token = token or open_session(user=guest).refresh
    return api(account).post("/api/me/merge/", {"guest": token})


def merge(account: User, guest: User) -> None:
    """Merge at once."""
    guest.merged_into, guest.is_active = account, False
    guest.save()
    merge_accounts(guest_id=guest.pk)


def authors(room: Conversation) -> list[str]:
    """Who wrote what is there, in order."""
    rows = Message.objects.filter(conversation=room).order_by("created_seq")
    return [row.author_user.username if row.author_user else "-" for row in rows]


def role(user: User, room: Conversation) -> str | None:
    """As what someone is in a room."""
    member = Member.objects.present().filter(conversation=room, user=user).first()
    return None if member is None else member.role


def test_an_account_finds_everything_it_did_as_a_guest(
    api: Api, alice: User, charlie: User, dora: User, group: Conversation
) -> None:
    own = create_conversation(user=dora, kind="group", title="Own")
    said = say(dora, group, "hello").message
    alices = say(alice, group, "hi").message
    react(user=dora, message_id=alices.pk, emoji="👍", on=True)
    count_reactions(conversation_id=group.pk)
    notify(recipient=dora, category="c", action="a", short_description="s", dedupe_key="k")

    merge(charlie, dora)
    assert authors(group) == ["charlie", "alice"]
    assert Message.objects.get(pk=said.pk).content == "hello"
    assert (role(charlie, group), role(dora, group)) == ("guest", None)
    assert role(charlie, own) == "owner"
    assert Conversation.objects.get(pk=own.pk).creator == charlie
    assert room_state(charlie.pk, group.pk).mine.unread == 1
    assert Notification.objects.get(dedupe_key="k").recipient == charlie
    titles = [row["title"] for row in api(charlie).get("/api/conversations/").json()["results"]]
    assert sorted(titles) == ["Lunch", "Own"]


def test_reactions_of_both_are_counted_once(
    alice: User,
    bob: User,
    dora: User,
    group: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)
    said = say(alice, group, "hi").message
    for person, emoji in ((dora, "👍"), (bob, "👍"), (dora, "🎉"), (alice, "🎉")):
        react(user=person, message_id=said.pk, emoji=emoji, on=True)
    while count_reactions(conversation_id=group.pk):
        pass
    merge(bob, dora)
    while count_reactions(conversation_id=group.pk):
        pass
    (tally,) = tallies_of(bob, [said.pk])
    counted = {kind.emoji: (kind.count, set(kind.users)) for kind in tally.reactions}
    assert counted == {"👍": (1, {bob.pk}), "🎉": (2, {alice.pk, bob.pk})}
    assert set(tally.mine) == {"👍", "🎉"}


def test_of_two_memberships_the_higher_role_and_read_mark_stay(
    alice: User, bob: User, dora: User, group: Conversation
) -> None:
    own = group.members.get(user=dora)
    change_member(user=alice, conversation_id=group.pk, member_id=own.pk, role="moderator")
    for number in range(3):
        say(alice, group, str(number))
    mark_read(user=dora, conversation_id=group.pk, number=2)
    mark_read(user=bob, conversation_id=group.pk, number=1)
    merge(bob, dora)
    assert role(bob, group) == "moderator"
    room = room_state(bob.pk, group.pk)
    assert (room.mine.read, room.people) == (2, 2)
    assert not ReadState.objects.filter(user=dora, gone=False).exists()


def test_a_higher_role_and_read_mark_of_the_account_stay(
    alice: User, dora: User, group: Conversation
) -> None:
    say(dora, group, "1")
    mark_read(user=alice, conversation_id=group.pk, number=1)
    merge(alice, dora)
    assert role(alice, group) == "owner"
    assert room_state(alice.pk, group.pk).mine.read == 1


def test_who_may_read_only_what_follows_reads_what_they_could_as_a_guest(
    alice: User, bob: User, charlie: User, dora: User, group: Conversation
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    say(alice, group, "to dora")
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    other = create_guest(display_name="Eve")
    add_member(user=alice, conversation_id=group.pk, person=other.pk)
    merge(charlie, dora)
    merge(charlie, other)
    read = changes_since(user=charlie, conversation_id=group.pk, since=None)
    assert [message.content for message in read.messages] == ["to dora"]


def test_who_left_a_room_is_in_it_again_as_the_guest_was(
    alice: User, bob: User, dora: User, group: Conversation
) -> None:
    remove_member(user=bob, conversation_id=group.pk, member_id=group.members.get(user=bob).pk)
    place = group.members.get(user=dora).pk
    merge(bob, dora)
    assert (role(bob, group), group.members.get(user=bob).pk) == ("guest", place)


def test_nobody_comes_by_merging_into_a_room_they_were_banned_from(
    alice: User, bob: User, dora: User, group: Conversation
) -> None:
    say(dora, group, "1")
    ban_member(user=alice, conversation_id=group.pk, member_id=group.members.get(user=bob).pk)
    merge(bob, dora)
    assert (role(bob, group), role(dora, group)) == (None, None)
    assert authors(group) == ["bob"]


def test_a_guests_ban_is_their_accounts(
    api: Api, alice: User, charlie: User, dora: User, group: Conversation
) -> None:
    ban_member(user=alice, conversation_id=group.pk, member_id=group.members.get(user=dora).pk)
    merge(charlie, dora)
    assert Sanction.objects.get().user == charlie
    added = api(alice).post(f"/api/conversations/{group.pk}/members/", {"user": str(charlie.pk)})
    assert added.json()["code"] == "banned"


def test_a_reply_that_streams_meanwhile_goes_on(
    alice: User, charlie: User, dora: User, group: Conversation, assistant: Assistant
) -> None:
    group.members.create(assistant=assistant)
    Member.objects.filter(user=dora).update(role="member")
    asked = say(dora, group, "so?", assistant="assistant")
    claim = claim_reply(message_id=asked.reply.pk, conversation_id=group.pk)
    assert claim is not None
    merge(charlie, dora)
    assert finish_reply(
        message_id=asked.reply.pk,
        conversation_id=group.pk,
        attempt=claim.attempt,
        outcome=Outcome(status="complete", content="Yes."),
    )
    reply = Message.objects.get(pk=asked.reply.pk)
    assert reply.parent is not None
    assert (reply.content, reply.parent.author_user) == ("Yes.", charlie)
    assert Notification.objects.filter(recipient=charlie, action="reply.finished").exists()


def test_a_merge_that_is_killed_and_repeated_is_as_one(
    alice: User, charlie: User, dora: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [group, *(create_conversation(user=dora, kind="group") for _ in range(2))]
    for room in rooms:
        say(dora, room, "1")
    original, done = merge_in_conversation, []

    def dies_later(**values: Any) -> None:
        if len(done) == 2:
            raise SystemExit
        done.append(values)
        original(**values)

    monkeypatch.setattr(merging, "merge_in_conversation", dies_later)
    with pytest.raises(SystemExit):
        merge(charlie, dora)
    monkeypatch.undo()
    merge_accounts(guest_id=dora.pk)
    before = {room.pk: Conversation.objects.get(pk=room.pk).seq for room in rooms}
    assert [authors(room) for room in rooms] == [["charlie"]] * 3
    merge_accounts(guest_id=dora.pk)
    assert {room.pk: Conversation.objects.get(pk=room.pk).seq for room in rooms} == before


def test_many_messages_are_asked_for_and_all_come(
    alice: User, charlie: User, dora: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MOST_TOLD", 2)
    for number in range(3):
        say(dora, group, str(number))
    since = Conversation.objects.get(pk=group.pk).seq
    merge(charlie, dora)
    later = changes_since(user=alice, conversation_id=group.pk, since=since)
    assert [message.seq for message in later.messages] == [since + 1, since + 2, since + 3]
    assert {message.author.name for message in later.messages if message.author} == {"charlie"}


def test_what_both_said_under_one_client_id_is_two_messages(
    bob: User, dora: User, group: Conversation
) -> None:
    say(bob, group, "same")
    say(dora, group, "same")
    merge(bob, dora)
    assert authors(group) == ["bob", "bob"]


def test_two_direct_conversations_become_found_as_one(
    alice: User, bob: User, charlie: User, dora: User
) -> None:
    guests, _ = open_direct(user=dora, people=[alice.pk])
    accounts, _ = open_direct(user=charlie, people=[alice.pk])
    lonely, _ = open_direct(user=charlie, people=[dora.pk])
    other, _ = open_direct(user=dora, people=[bob.pk])
    say(dora, guests, "1")
    merge(charlie, dora)
    assert open_direct(user=alice, people=[charlie.pk])[0] == accounts
    # What was opened with the guest is found under the account's name.
    assert open_direct(user=charlie, people=[bob.pk]) == (other, False)
    assert open_direct(user=alice, people=[dora.pk])[0] == accounts
    assert role(charlie, guests) == role(charlie, lonely) == "member"


def test_links_and_people_that_a_guest_brought_are_the_accounts(
    alice: User, bob: User, charlie: User, dora: User, group: Conversation
) -> None:
    Invitation.objects.create(conversation=group, by=dora)
    Member.objects.filter(user=bob).update(invited_by=dora)
    merge(charlie, dora)
    assert Invitation.objects.get().by == charlie
    assert group.members.get(user=bob).invited_by == charlie


def test_a_merged_guests_id_is_the_accounts(
    api: Api, alice: User, charlie: User, dora: User, group: Conversation
) -> None:
    merge(charlie, dora)
    known = api(alice).get(f"/api/people/?ids={dora.pk}").json()["results"]
    assert [one["id"] for one in known] == [str(charlie.pk)]
    made = create_conversation(user=alice, kind="group", members=[dora.pk])
    assert role(charlie, made) == "member"
    bare = create_conversation(user=alice, kind="group")
    added = add_member(user=alice, conversation_id=bare.pk, person=dora.pk)
    assert added.user == charlie


# What a merge moves, and what stays the guest's. Whoever adds a column with a person says which.
MOVED = {
    "Block.blocked",
    "Block.user",
    "Conversation.creator",
    "Group_people.user",
    "Group.people",
    "Invitation.by",
    "JoinRequest.decided_by",
    "JoinRequest.user",
    "Member.invited_by",
    "Member.user",
    "Mention.user",
    "Message.author_user",
    "Message.deleted_by",
    "Message.pinned_by",
    "Notification.recipient",
    "Reaction.user",
    "ReadState.user",
    "Report.reporter",
    "Report.resolved_by",
    "Revision.by",
    "Sanction.by",
    "Sanction.user",
    "Topic.accepted_by",
    "Topic.author",
}
STAYS = {
    "AuditEntry.actor",
    "AuditEntry.person",
    "Feed.user",
    "LogEntry.user",
    "Notification.source",
    "OutstandingToken.user",
    "PersonStatus.user",
    "Session.user",
    "User.merged_into",
    "User_groups.user",
    "User_user_permissions.user",
}


def test_of_every_column_with_a_person_it_is_said_whether_a_merge_moves_it() -> None:
    found = {
        f"{one.field.model.__name__}.{one.field.name}"
        for one in User._meta.get_fields(include_hidden=True)
        if one.auto_created and not one.concrete
    }
    assert found - STAYS == MOVED & found
    assert found >= MOVED


def test_what_names_a_guest_names_their_account(
    api: Api, alice: User, bob: User, charlie: User, dora: User, group: Conversation
) -> None:
    said = say(alice, group, "hello").message
    Mention.objects.create(
        user=dora, conversation=group, number=said.number, message=said, reason="name"
    )
    Message.objects.filter(pk=said.pk).update(
        mentions=[{"type": "user", "id": str(dora.pk), "start": 0, "length": 5}],
        pinned_by=dora,
        pinned_at=timezone.now(),
    )
    people = Group.objects.create(slug="team", name="Team")
    people.people.add(dora)
    Report.objects.create(
        conversation=group, room=group, message=said, reporter=dora, reason="spam"
    )
    block(user=dora, person=bob.pk, on=True)
    block(user=alice, person=dora.pk, on=True)
    merge(charlie, dora)
    assert list(Mention.objects.values_list("user", flat=True)) == [charlie.pk]
    now = Message.objects.get(pk=said.pk)
    assert [one["id"] for one in now.mentions] == [str(charlie.pk)]
    assert (now.author_user, now.pinned_by) == (alice, charlie)
    assert list(people.people.all()) == [charlie]
    assert Report.objects.get().reporter == charlie
    assert blocked_ids(charlie.pk) == [bob.pk]
    assert charlie.pk in blocked_ids(alice.pk)


def test_a_silence_of_the_guest_holds(
    alice: User, bob: User, dora: User, group: Conversation
) -> None:
    until = timezone.now() + timedelta(days=1)
    Member.objects.filter(user=dora).update(silenced_until=until)
    merge(bob, dora)
    assert group.members.get(user=bob).silenced_until == until


# --- Asking for it ---------------------------------------------------------------------------


def test_a_merge_is_asked_for_with_a_token_of_each(
    api: Api, charlie: User, dora: User, group: Conversation
) -> None:
    session = open_session(user=dora)
    for token in (session.refresh, session.access):
        answer = begin(api, charlie, dora, token)
        assert (answer.status_code, answer.json()) == (
            202,
            {"guest": str(dora.pk), "account": str(charlie.pk)},
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT args->>'guest_id' FROM procrastinate_jobs WHERE task_name = %s",
            [merging.MERGE_TASK],
        )
        assert cursor.fetchall() == [(str(dora.pk),)]
    guest = api()
    guest.credentials(HTTP_AUTHORIZATION=f"Bearer {session.access}")
    assert guest.get("/api/me/").json()["code"] == "user_inactive"


def test_only_a_guest_is_merged_and_only_into_an_account(
    api: Api, alice: User, charlie: User, dora: User
) -> None:
    other = create_guest(display_name="Eve")
    refused = {
        "not_a_guest": begin(api, charlie, alice),
        "is_a_guest": begin(api, other, dora),
        "token_invalid": begin(api, charlie, dora, "nonsense"),
    }
    for code, answer in refused.items():
        assert answer.json()["code"] == code
    assert begin(api, charlie, charlie).json()["code"] == "not_a_guest"
    spent = open_session(user=dora)
    Session.objects.filter(user=dora).update(revoked_at=timezone.now())
    assert begin(api, charlie, dora, spent.access).json()["code"] == "session_revoked"
    dora.refresh_from_db()
    assert (dora.is_active, dora.merged_into) == (True, None)


def test_a_guest_is_merged_into_one_account_only(
    api: Api, alice: User, charlie: User, dora: User
) -> None:
    tokens = [open_session(user=dora).refresh for _ in range(2)]

    def ask(number: int) -> int:
        try:
            return begin(api, (alice, charlie)[number], dora, tokens[number]).status_code  # type: ignore[no-any-return]
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, range(2))) == [202, 401]


async def test_both_are_told_and_the_guest_is_signed_out(
    api: Api, charlie: User, dora: User, group: Conversation, token_for: Callable[[User], str]
) -> None:
    async with (
        Socket(await in_thread(token_for, dora)) as guest,
        Socket(await in_thread(token_for, charlie)) as account,
    ):
        await in_thread(merge, charlie, dora)
        for socket in (guest, account):
            told = await socket.until("accounts.merged")
            assert (told["guest"], told["account"]["id"]) == (str(dora.pk), str(charlie.pk))
        assert await guest.close_code() == (4001, "session_revoked")
    await get_channel_layer().close()


# --- People ----------------------------------------------------------------------------------


def found(api: Api, user: User, query: str = "") -> list[str]:
    """Whom a person finds."""
    return [one["name"] for one in api(user).get(f"/api/people/{query}").json()["results"]]


def test_accounts_find_everybody_with_one_and_the_guests_of_their_rooms(
    api: Api, alice: User, bob: User, charlie: User, dora: User
) -> None:
    assert found(api, alice) == ["bob", "charlie", "Dora"]
    assert found(api, charlie) == ["alice", "bob"]
    assert found(api, alice, "?q=CHAR") == ["charlie"]
    assert found(api, alice, "?q=guest") == []
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert found(api, charlie) == ["alice"]


def test_a_guest_finds_only_the_people_of_their_rooms(
    api: Api, alice: User, charlie: User, dora: User
) -> None:
    assert found(api, dora) == ["alice", "bob"]
    assert found(api, dora, "?q=charlie") == []
    assert found(api, dora, f"?ids={charlie.pk},{alice.pk}") == ["alice"]


@pytest.mark.parametrize("ids", ["x", "", "1,2", "%00"])
def test_what_is_no_id_is_refused(api: Api, alice: User, ids: str) -> None:
    assert api(alice).get(f"/api/people/?ids={ids}").status_code == 400


def test_a_ban_that_ran_out_is_not_moved(
    alice: User, charlie: User, dora: User, group: Conversation
) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Sanction.objects.create(conversation=group, user=dora, until=past)
    merge(charlie, dora)
    assert Sanction.objects.get().user == dora
