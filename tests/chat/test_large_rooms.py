"""A room of 10,000 people costs what a room of two costs, for whoever opens it or writes in it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from chat import unread
from chat.models import Assistant, Conversation, Member, ReadState
from chat.selectors.rooms import person_changes
from chat.selectors.sync import changes_since
from chat.services.conversations import create_conversation
from chat.services.members import add_member, change_member, remove_member
from chat.services.messages import send_message
from chat.services.mine import mark_read
from core import publishing
from core.publishing import Publication
from protocol.limits import LARGE_ROOM

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[..., APIClient]
MANY = 10_000


@pytest.fixture(autouse=True)
def touches(monkeypatch: pytest.MonkeyPatch) -> list[unread.Touch]:
    """What lists are told."""
    told: list[unread.Touch] = []
    monkeypatch.setattr(unread, "_touch", told.append)
    return told


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Publication]:
    """What is published."""
    told: list[Publication] = []
    monkeypatch.setattr(publishing, "publish_now", lambda *some: told.extend(some))
    return told


def crowd(conversation: Conversation, count: int) -> None:
    """Let so many more people be in a conversation."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH people AS (
                INSERT INTO accounts_user (id, username, display_name, email, password, first_name,
                    last_name, is_superuser, is_staff, is_active, is_guest, date_joined)
                SELECT gen_random_uuid(), 'crowd-' || %(room)s || n, 'Person ' || n,
                    'p' || %(room)s || n || '@example.org', '', '', '', FALSE, FALSE, TRUE, FALSE,
                    now()
                FROM generate_series(1, %(count)s) n RETURNING id
            ), members AS (
                INSERT INTO chat_member (id, conversation_id, user_id, role, nickname, joined_at,
                    seq, joined_seq)
                SELECT gen_random_uuid(), %(conversation)s, id, 'member', '', now(), 2, 2
                FROM people
            )
            INSERT INTO chat_readstate (user_id, conversation_id, read, level, gone, seq)
            SELECT id, %(conversation)s, 0, 'all', FALSE, 1 FROM people
            """,
            {"conversation": conversation.pk, "count": count, "room": conversation.pk.hex[-6:]},
        )
    Conversation.objects.filter(pk=conversation.pk).update(people=2 + count)


@pytest.fixture
def large(alice: User, bob: User, assistant: Assistant) -> Conversation:
    """Alice's room with bob, an assistant and 10,000 others."""
    made = create_conversation(
        user=alice, kind="group", title="Hall", assistant="assistant", members=[bob.pk]
    )
    crowd(made, MANY)
    return made


def say(user: User, conversation: Conversation, client_id: str) -> CaptureQueriesContext:
    """Send a message; return the statements that took."""
    with CaptureQueriesContext(connection) as queries:
        send_message(
            user=user, conversation_id=conversation.pk, client_id=client_id, content="hello"
        )
    return queries


def test_a_message_to_10_000_people_costs_what_one_to_two_costs(
    alice: User, group: Conversation, large: Conversation, published: list[Publication]
) -> None:
    say(alice, group, "1")
    small = say(alice, group, "2")
    told = len(published)
    queries = say(alice, large, "1")
    assert len(queries) == len(small) <= 13
    assert len(published) == told + 1
    # Of 10,000 rows, only its author's mark was written.
    assert ReadState.objects.filter(conversation=large, read__gt=0).count() == 1


def test_10_000_lists_are_touched_at_once(
    alice: User, large: Conversation, touches: list[unread.Touch]
) -> None:
    touches.clear()
    say(alice, large, "1")
    assert [touch.conversation for touch in touches] == [large.pk.hex]


def test_opening_a_room_of_10_000_people_names_those_who_matter_to_all(
    alice: User, bob: User, large: Conversation
) -> None:
    changes_since(user=bob, conversation_id=large.pk, since=None)  # the installation has its row
    with CaptureQueriesContext(connection) as queries:
        answer = changes_since(user=bob, conversation_id=large.pk, since=None)
    # BEGIN and COMMIT beside them.
    assert len(queries) - 2 <= 6
    names = {(member.user or member.assistant).name for member in answer.members}  # type: ignore[union-attr]
    assert names == {"alice", "bob", "Assistant"}
    assert answer.people == MANY + 2
    assert len(answer.model_dump_json()) < 60_000


def test_plain_members_of_a_large_room_come_and_go_as_a_number(
    alice: User, charlie: User, large: Conversation, published: list[Publication]
) -> None:
    before = changes_since(user=alice, conversation_id=large.pk, since=None)
    member = add_member(user=alice, conversation_id=large.pk, person=charlie.pk)
    frame = _frame(published, f"conversation.{large.pk.hex}")
    assert frame == {
        "type": "members.changed",
        "conversation": str(large.pk),
        "first_seq": before.seq + 1,
        "seq": before.seq + 1,
        "people": MANY + 3,
    }
    answer = changes_since(user=alice, conversation_id=large.pk, since=before.seq)
    assert (answer.members, answer.people, answer.seq) == ([], MANY + 3, before.seq + 1)
    remove_member(user=alice, conversation_id=large.pk, member_id=member.pk)
    frame = _frame(published, f"conversation.{large.pk.hex}")
    assert (frame["type"], frame["people"]) == ("members.changed", MANY + 2)


def test_managers_of_a_large_room_are_told_by_name_and_so_is_who_was_one(
    alice: User, bob: User, large: Conversation, published: list[Publication]
) -> None:
    known = changes_since(user=alice, conversation_id=large.pk, since=None).seq
    member = large.members.get(user=bob)
    for role in ("admin", "member"):
        change_member(user=alice, conversation_id=large.pk, member_id=member.pk, role=role)
        frame = _frame(published, f"conversation.{large.pk.hex}")
        assert (frame["type"], frame["member"]["role"]) == ("member.updated", role)
    # Alice was not there when bob was an admin, or she was: either way she hears what he is now.
    (told,) = changes_since(user=alice, conversation_id=large.pk, since=known).members
    assert told.role == "member"


def test_up_to_100_people_everyone_is_told_by_name(
    alice: User, charlie: User, group: Conversation, published: list[Publication]
) -> None:
    crowd(group, LARGE_ROOM - 3)
    member = add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    frame = _frame(published, f"conversation.{group.pk.hex}")
    assert (frame["type"], frame["people"]) == ("member.joined", LARGE_ROOM)
    answer = changes_since(user=alice, conversation_id=group.pk, since=None)
    assert len(answer.members) == LARGE_ROOM
    remove_member(user=charlie, conversation_id=group.pk, member_id=member.pk)
    frame = _frame(published, f"conversation.{group.pk.hex}")
    assert (frame["type"], frame["people"]) == ("member.left", LARGE_ROOM - 1)


def test_the_members_of_a_large_room_are_found_by_name_and_role(
    api: Api, alice: User, bob: User, charlie: User, large: Conversation
) -> None:
    url = f"/api/conversations/{large.pk}/members/"

    def found(**query: str) -> list[str]:
        rows = api(bob).get(url, query).json()["results"]
        return [(row["user"] or row["assistant"])["name"] for row in rows]

    assert found(q="Person 9999") == ["Person 9999"]
    assert found(q="9999") == ["Person 9999"]
    assert found(q="ALI") == ["alice"]
    assert found(role="owner") == ["alice"]
    assert found(q="%") == found(q="_") == []
    assert len(found()) == 100
    assert api(charlie).get(url, {"q": "a"}).status_code == 404
    assert api(bob).get(url, {"role": "king"}).status_code == 400


def test_reading_costs_the_same_in_a_room_of_any_size(
    alice: User, bob: User, group: Conversation, large: Conversation
) -> None:
    counts = []
    for conversation in (group, large):
        say(alice, conversation, "1")
        with CaptureQueriesContext(connection) as queries:
            mark_read(user=bob, conversation_id=conversation.pk, number=1)
        counts.append(len(queries))
        assert not [query for query in queries if "FOR UPDATE" in query["sql"]]
    # The newest number; BEGIN, the feed, the mark, the row, COMMIT; telling it.
    assert counts[0] == counts[1] <= 7


def test_an_application_begins_with_few_statements_however_many_rooms_there_are(
    alice: User, large: Conversation
) -> None:
    person_changes(user=alice)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            answer = person_changes(user=alice)
        counts.append(len(queries))
        for number in range(60):
            create_conversation(user=alice, kind="group", title=str(number))
    assert counts[0] == counts[1] <= 8
    assert len(answer.rooms) == 50


def _frame(published: list[Publication], group: str) -> dict[str, Any]:
    """The last frame that the followers of a conversation were sent."""
    frames = [one.message["frame"] for one in published if one.group == group]
    return json.loads(frames[-1])  # type: ignore[no-any-return]


def test_a_deletion_of_a_large_room_is_one_publication(
    api: Api, alice: User, large: Conversation, published: list[Publication]
) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert api(alice).delete(f"/api/conversations/{large.pk}/").status_code == 204
    assert len(published) == 1
    assert len(queries) < 20
    assert not Member.objects.filter(conversation=large).exists()
