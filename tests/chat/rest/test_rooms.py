"""Rooms over REST: alice owns, bob is a member, charlie is a stranger."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import create_guest
from chat.models import Assistant, Conversation, Member
from chat.selectors.sync import changes_since
from chat.services import reactions
from chat.services.conversations import archive_conversation, change_conversation
from chat.services.members import add_member, remove_member
from chat.services.messages import edit_message, send_message
from chat.services.reactions import count_reactions, react

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)


def url(room: Conversation, path: str = "") -> str:
    """The address of a room, or of something in it."""
    return f"/api/conversations/{room.pk}/{path}"


def say(user: User, room: Conversation, text: str, **options: Any) -> Any:
    """Say something; return the message."""
    return send_message(
        user=user, conversation_id=room.pk, client_id=text, content=text, **options
    ).message


def test_a_room_says_what_it_is_about_and_what_newcomers_read(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    about = {"topic_text": "What we eat", "avatar": "🍜", "access": "listed", "history": "joined"}
    assert api(alice).patch(url(group), about).status_code == 200
    seen = api(bob).get(url(group)).json()
    assert {name: seen[name] for name in about} == about
    assert seen["title"] == "Lunch"


@pytest.mark.parametrize("action", ["delete", "nonsense"])
def test_no_policy_changes_what_is_the_same_everywhere(
    api: Api, alice: User, group: Conversation, action: str
) -> None:
    refused = api(alice).patch(url(group), {"policy": {action: "guest"}})
    assert refused.status_code == 400
    assert refused.json()["details"]["fields"][0]["field"] == f"policy.{action}"


def test_a_conversation_with_an_assistant_opens_to_nobody(
    api: Api, alice: User, chat: Conversation
) -> None:
    assert api(alice).patch(url(chat), {"access": "open"}).status_code == 400
    assert api(alice).post("/api/conversations/", {"access": "open"}).status_code == 400


def test_an_archived_room_is_read_and_not_written_in(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    message = say(bob, group, "before")
    assert api(alice).post(url(group, "archive/")).json()["archived_at"]

    said = {"client_id": "1", "content": "after"}
    for answer in (
        api(bob).post(url(group, "messages/"), said),
        api(bob).patch(f"/api/messages/{message.pk}/", said),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "read_only")
    assert len(api(bob).get(url(group, "messages/")).json()["results"]) == 1

    assert api(alice).post(url(group, "unarchive/")).json()["archived_at"] is None
    assert api(bob).post(url(group, "messages/"), said).status_code == 201


def test_what_was_sent_before_the_end_is_still_acknowledged(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    say(bob, group, "before")
    archive_conversation(user=alice, conversation_id=group.pk)
    again = {"client_id": "before", "content": "before"}
    assert api(bob).post(url(group, "messages/"), again).status_code == 200


@pytest.fixture
def from_now(alice: User, charlie: User, group: Conversation) -> list[Any]:
    """What was said before charlie came to a room that shows newcomers nothing of it, and after."""
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    before = say(alice, group, "before")
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    return [before]


def test_a_newcomer_reads_nothing_from_before(
    api: Api,
    alice: User,
    bob: User,
    charlie: User,
    group: Conversation,
    from_now: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (before,) = from_now
    newcomer = api(charlie)
    assert newcomer.get(url(group)).json()["preview"] == ""
    assert api(bob).get(url(group)).json()["preview"] == "before"

    after = say(alice, group, "after")
    known = newcomer.get(url(group, "changes/")).json()
    assert [row["content"] for row in known["messages"]] == ["after"]
    for query in ("", f"?before={after.created_seq}", "?after=0"):
        page = newcomer.get(url(group, f"messages/{query}")).json()
        assert "before" not in [row["content"] for row in page["results"]]
        assert not page["more_before"] or query == "?after=0"
    assert newcomer.get(f"/api/messages/{before.pk}/").status_code == 404
    assert newcomer.get(f"/api/messages/{after.pk}/").status_code == 200

    given = newcomer.put(f"/api/messages/{before.pk}/reactions/%F0%9F%91%8D/")
    assert given.status_code == 404
    assert newcomer.put(f"/api/messages/{after.pk}/reactions/%F0%9F%91%8D/").status_code == 200
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)
    react(user=alice, message_id=before.pk, emoji="👍", on=True)
    while count_reactions(conversation_id=group.pk):
        pass
    edit_message(user=alice, message_id=before.pk, client_id="e", content="secret")
    later = newcomer.get(url(group, f"changes/?since={known['seq']}")).json()
    assert (later["messages"], later["complete"]) == ([], True)
    assert {row["message"] for row in later["tallies"]} == {str(after.pk)}
    assert len(api(bob).get(url(group, "messages/")).json()["results"]) == 2


def test_a_newcomer_quotes_and_deletes_nothing_from_before(
    api: Api, charlie: User, group: Conversation, from_now: list[Any]
) -> None:
    (before,) = from_now
    quoting = {"client_id": "1", "content": "that", "parent": str(before.pk)}
    assert api(charlie).post(url(group, "messages/"), quoting).status_code == 400
    Member.objects.filter(user=charlie).update(role="moderator")
    assert api(charlie).delete(f"/api/messages/{before.pk}/").status_code == 404


def test_who_comes_back_reads_nothing_of_their_absence(
    alice: User, bob: User, group: Conversation
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    member = group.members.get(user=bob)
    remove_member(user=bob, conversation_id=group.pk, member_id=member.pk)
    say(alice, group, "meanwhile")
    add_member(user=alice, conversation_id=group.pk, person=bob.pk)
    assert changes_since(user=bob, conversation_id=group.pk, since=None).messages == []


def test_a_room_made_by_the_way_shows_newcomers_everything(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    say(alice, group, "before")
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    page = api(charlie).get(url(group, "messages/")).json()
    assert [row["content"] for row in page["results"]] == ["before"]


def test_who_brought_someone_is_seen(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    members = api(alice).get(url(group, "members/")).json()["results"]
    assert members[-1]["invited_by"] == str(alice.pk)


def test_a_direct_conversation_is_the_same_whoever_opens_it(
    api: Api, alice: User, bob: User, charlie: User
) -> None:
    first = api(alice).post("/api/direct/", {"people": [str(bob.pk)]})
    again = api(bob).post("/api/direct/", {"people": [str(alice.pk), str(bob.pk)]})
    other = api(bob).post("/api/direct/", {"people": [str(alice.pk), str(charlie.pk)]})
    assert [answer.status_code for answer in (first, again, other)] == [201, 200, 201]
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert (first.json()["kind"], first.json()["people"]) == ("direct", 2)


def test_opening_a_direct_conversation_brings_back_who_left(
    api: Api, alice: User, bob: User
) -> None:
    opened = api(alice).post("/api/direct/", {"people": [str(bob.pk)]}).json()
    member = Member.objects.get(conversation=opened["id"], user=bob)
    remove_member(user=bob, conversation_id=member.conversation_id, member_id=member.pk)
    assert api(alice).post("/api/direct/", {"people": [str(bob.pk)]}).json()["people"] == 2


def test_a_direct_conversation_stays_among_its_people(
    api: Api, alice: User, bob: User, charlie: User
) -> None:
    opened = api(alice).post("/api/direct/", {"people": [str(bob.pk)]}).json()
    room = Conversation.objects.get(pk=opened["id"])
    added = api(alice).post(url(room, "members/"), {"user": str(charlie.pk)})
    assert added.status_code == 400
    assert api(alice).patch(url(room), {"access": "open"}).status_code == 403
    assert api(alice).post("/api/conversations/", {"kind": "direct"}).status_code == 400


def test_nobody_has_a_direct_conversation_with_themselves(api: Api, alice: User) -> None:
    assert api(alice).post("/api/direct/", {"people": [str(alice.pk)]}).status_code == 400


def test_a_guest_writes_directly_only_to_those_they_share_a_room_with(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, assistant: Assistant
) -> None:
    dora = create_guest(display_name="Dora")
    add_member(user=alice, conversation_id=group.pk, person=dora.pk)
    assert api(dora).post("/api/direct/", {"people": [str(bob.pk)]}).status_code == 201
    assert api(dora).post("/api/direct/", {"people": [str(charlie.pk)]}).status_code == 400
