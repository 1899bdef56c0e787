"""Topics of a forum over REST: alice asks, bob answers, charlie is a stranger, mod moderates."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import create_guest
from chat.change import changing
from chat.models import Assistant, Conversation, Member, Message, Reaction, ReadState, Topic
from chat.selectors.rooms import room_state
from chat.selectors.sync import changes_since
from chat.selectors.topics import SORTS, _write_cursor, topic_page
from chat.services import reactions, topic_rows, topic_views
from chat.services.conversations import create_conversation, delete_conversation
from chat.services.members import new_member, remove_member
from chat.services.merging import merge_in_conversation
from chat.services.purge import delete_inner, forget_deleted
from protocol.limits import MAX_REACTIONS

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is counted later is counted when a test says so."""
    monkeypatch.setattr(reactions._counting, "soon", lambda conversation: None)
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)
    monkeypatch.setattr(topic_rows._refreshing, "soon", lambda topic: None)
    monkeypatch.setattr(topic_rows, "INTERVAL", 0.0)
    monkeypatch.setattr(topic_views._flushing, "soon", lambda key: None)
    yield
    topic_views.stop()


@pytest.fixture
def mod(db: None) -> User:
    """A moderator of the forum."""
    return User.objects.create_user("mod", "mod@example.org", "correct-horse-battery")


@pytest.fixture
def forum(bob: User, alice: User, mod: User) -> Conversation:
    """A forum that somebody else owns."""
    owner = User.objects.create_user("owner", "owner@example.org", "correct-horse-battery")
    made = create_conversation(
        user=owner, kind="forum", title="Help", members=[alice.pk, bob.pk, mod.pk]
    )
    Member.objects.filter(user=mod).update(role="moderator")
    return made


def ask(client: APIClient, forum: Conversation, title: str = "Why?", **more: Any) -> Any:
    """Begin a topic; return it."""
    body = {"client_id": uuid4().hex, "title": title, "content": "I wonder.", **more}
    answer = client.post(f"/api/conversations/{forum.pk}/topics/", body)
    assert answer.status_code == 201, answer.content
    return answer.json()["topic"]


def say(client: APIClient, topic: Any, content: str = "Because.") -> str:
    """Answer in a topic; return the message's id."""
    said = {"client_id": uuid4().hex, "content": content}
    answer = client.post(f"/api/conversations/{topic['id']}/messages/", said)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["message"]["id"])


def read(client: APIClient, topic: Any) -> Any:
    """A topic as it is listed now."""
    return client.get(f"/api/conversations/{topic['id']}/topic/").json()["topic"]


def accept(client: APIClient, message: str, instead_of: str | None = None) -> Any:
    """Accept an answer."""
    return client.put(f"/api/messages/{message}/accept/", {"instead_of": instead_of})


def listed(client: APIClient, forum: Conversation, **query: Any) -> list[str]:
    """The titles of a page."""
    answer = client.get(f"/api/conversations/{forum.pk}/topics/", query).json()
    return [topic["title"] for topic in answer["results"]]


def refresh(topic: Any) -> None:
    """Count votes, and bring a topic's row up to date."""
    while reactions.count_reactions(conversation_id=topic["id"]):
        pass
    assert topic_rows.refresh_topic(topic_id=topic["id"]) == 0


# --- Beginning, and who may see it ------------------------------------------------------------


def test_a_topic_is_a_conversation_that_all_of_the_forum_read_and_write_in(
    api: Api, alice: User, bob: User, charlie: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum, tags=["Rain", "rain", "sky"])
    assert topic["tags"] == ["rain", "sky"]
    assert topic["author"]["name"] == "alice"
    inside = f"/api/conversations/{topic['id']}/"
    messages = api(bob).get(f"{inside}messages/").json()["results"]
    assert [(one["id"], one["content"]) for one in messages] == [
        (topic["first_message"], "I wonder.")
    ]
    state = api(bob).get(inside).json()
    assert (state["kind"], state["title"], state["parent"]) == (
        "discussion",
        "Why?",
        str(forum.pk),
    )
    say(api(bob), topic)
    for address in (inside, f"{inside}topic/", f"{inside}changes/", f"{inside}messages/"):
        assert api(charlie).get(address).status_code == 404
    topics = f"/api/conversations/{forum.pk}/topics/"
    assert api(charlie).get(topics).status_code == 404
    new = {"client_id": "1", "title": "x", "content": "x"}
    assert api(charlie).post(topics, new).status_code == 404


def test_a_topic_that_is_sent_twice_is_one(api: Api, alice: User, forum: Conversation) -> None:
    first = ask(api(alice), forum, client_id="1")
    again = api(alice).post(
        f"/api/conversations/{forum.pk}/topics/",
        {"client_id": "1", "title": "Other", "content": "Other"},
    )
    assert (again.status_code, again.json()["topic"]["id"]) == (200, first["id"])
    assert again.json()["message"]["id"] == first["first_message"]
    assert Topic.objects.count() == 1


def test_only_a_forum_has_topics_and_nothing_is_said_beside_them(
    api: Api, alice: User, group: Conversation, forum: Conversation
) -> None:
    new = {"client_id": "1", "title": "x", "content": "x"}
    assert api(alice).post(f"/api/conversations/{group.pk}/topics/", new).status_code == 400
    said = {"client_id": "1", "content": "x"}
    assert api(alice).post(f"/api/conversations/{forum.pk}/messages/", said).status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": " "},
        {"title": "x" * 201},
        {"content": ""},
        {"tags": ["a", "b", "c", "d", "e", "f"]},
        {"tags": ["x" * 31]},
        {"tags": [" x"]},
        {"tags": ["a,b"]},
        {"tags": "rain"},
        {"pinned": True},
    ],
)
def test_a_topic_that_is_malformed_is_refused(
    api: Api, alice: User, forum: Conversation, wrong: dict[str, Any]
) -> None:
    new = {"client_id": "1", "title": "x", "content": "x", **wrong}
    assert api(alice).post(f"/api/conversations/{forum.pk}/topics/", new).status_code == 400


def test_an_archived_forum_takes_no_topic(api: Api, alice: User, forum: Conversation) -> None:
    Conversation.objects.filter(pk=forum.pk).update(archived_at="2026-01-01T00:00Z")
    new = {"client_id": "1", "title": "x", "content": "x"}
    answer = api(alice).post(f"/api/conversations/{forum.pk}/topics/", new)
    assert (answer.status_code, answer.json()["code"]) == (409, "read_only")


def test_who_joins_a_forum_reads_all_of_it(api: Api, alice: User) -> None:
    new = {"kind": "forum", "title": "Help", "history": "joined"}
    assert api(alice).post("/api/conversations/", new).status_code == 400
    made = api(alice).post("/api/conversations/", new | {"history": "all"}).json()
    patch = api(alice).patch(f"/api/conversations/{made['id']}/", {"history": "joined"})
    assert patch.status_code == 400


def test_a_new_topic_is_unread_to_all_but_its_author_until_it_is_deleted(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum, "First")
    ask(api(alice), forum, "Second")
    for person, unread in ((alice, 0), (bob, 2)):
        room = room_state(person.pk, forum.pk)
        assert (room.mine.unread, room.preview, room.number) == (unread, "Second", 2)
    assert api(alice).delete(f"/api/conversations/{topic['id']}/").status_code == 204
    assert room_state(bob.pk, forum.pk).mine.unread == 1
    assert room_state(alice.pk, forum.pk).mine.unread == 0


# --- Who may change and accept (there anyone may) ---------------------------------------------


def test_authors_and_moderators_only_may_change_a_topic(
    api: Api, alice: User, bob: User, charlie: User, mod: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    address = f"/api/conversations/{topic['id']}/topic/"
    for change in ({"title": "New"}, {"tags": ["new"]}, {"solved": True}, {"closed": True}):
        refused = api(bob).patch(address, change)
        assert refused.status_code == 403
        assert refused.json()["details"] == {"action": "topics", "needs": "moderator"}
        assert api(charlie).patch(address, change).status_code == 404
        for person in (alice, mod):
            assert api(person).patch(address, change).status_code == 200
    assert api(alice).patch(address, {"pinned": True}).json()["details"]["action"] == "pin_topic"
    assert api(mod).patch(address, {"pinned": True}).json()["topic"]["pinned"] is True
    now = read(api(bob), topic)
    assert (now["title"], now["tags"], now["solved"], now["closed"]) == (
        "New",
        ["new"],
        True,
        True,
    )
    assert Conversation.objects.get(pk=topic["id"]).title == "New"


def test_authors_and_moderators_only_may_accept_an_answer_or_withdraw_it(
    api: Api, alice: User, bob: User, charlie: User, mod: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    answer = say(api(bob), topic)
    path = f"/api/messages/{answer}/accept/"
    assert accept(api(charlie), answer).status_code == 404
    refused = accept(api(bob), answer)
    assert refused.status_code == 403
    assert refused.json()["details"] == {"action": "topics", "needs": "moderator"}
    for person in (alice, mod):
        taken = accept(api(person), answer).json()["topic"]
        assert (taken["accepted"], taken["solved"]) == (answer, True)
        assert taken["accepted_by"] == str(person.pk)
        assert api(bob).delete(path).status_code == 403
        assert api(charlie).delete(path).status_code == 404
        withdrawn = api(person).delete(path).json()["topic"]
        assert (withdrawn["accepted"], withdrawn["solved"]) == (None, False)
        assert withdrawn["accepted_by"] is None


def test_a_guest_begins_no_topic_and_does_not_vote(
    api: Api, alice: User, forum: Conversation
) -> None:
    guest = create_guest(display_name="Dora")
    with changing(forum.pk) as change:
        new_member(change=change, user=guest, role="guest")
    topic = ask(api(alice), forum)
    new = {"client_id": "1", "title": "x", "content": "x"}
    refused = api(guest).post(f"/api/conversations/{forum.pk}/topics/", new)
    assert refused.json()["details"] == {"action": "topic", "needs": "member"}
    refused = api(guest).put(f"/api/messages/{topic['first_message']}/vote/")
    assert refused.json()["details"] == {"action": "vote", "needs": "member"}
    Conversation.objects.filter(pk=forum.pk).update(policy={"vote": "guest", "topic": "guest"})
    assert api(guest).put(f"/api/messages/{topic['first_message']}/vote/").status_code == 200
    ask(api(guest), forum)


# --- Answers ----------------------------------------------------------------------------------


def test_what_is_accepted_is_an_answer_of_the_topic_that_is_whole_and_there(
    api: Api, alice: User, bob: User, forum: Conversation, group: Conversation
) -> None:
    topic = ask(api(alice), forum)
    assert accept(api(alice), topic["first_message"]).status_code == 400
    deleted = say(api(bob), topic)
    api(bob).delete(f"/api/messages/{deleted}/")
    assert accept(api(alice), deleted).status_code == 409
    writing = say(api(bob), topic)
    Message.objects.filter(pk=writing).update(status="streaming")
    assert accept(api(alice), writing).status_code == 409
    elsewhere = say(api(alice), {"id": group.pk})
    assert accept(api(alice), elsewhere).status_code == 400
    assert read(api(alice), topic)["accepted"] is None


def test_of_two_answers_accepted_at_once_exactly_one_is(
    api: Api, alice: User, bob: User, mod: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    answers = [say(api(bob), topic) for _ in range(4)]
    clients = [api(alice), api(mod), api(alice), api(mod)]

    def one(place: int) -> int:
        try:
            return int(accept(clients[place], answers[place]).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(one, range(4)))
    assert codes == [200, 409, 409, 409]
    assert read(api(bob), topic)["accepted"] in answers


def test_an_answer_takes_the_place_of_the_one_that_is_named(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    first, second = say(api(bob), topic), say(api(bob), topic)
    assert accept(api(alice), first).status_code == 200
    assert accept(api(alice), first).status_code == 200
    assert accept(api(alice), second).status_code == 409
    assert accept(api(alice), second, first).json()["topic"]["accepted"] == second
    # Another is accepted by now: taking the first back takes nothing.
    again = api(alice).delete(f"/api/messages/{first}/accept/")
    assert again.json()["topic"]["accepted"] == second


def test_deleting_the_accepted_answer_unaccepts_it_in_the_same_change(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    answer, other = say(api(bob), topic), say(api(bob), topic)
    accept(api(alice), answer)
    api(bob).delete(f"/api/messages/{other}/")
    assert read(api(bob), topic)["accepted"] == answer
    api(bob).delete(f"/api/messages/{answer}/")
    now = read(api(bob), topic)
    assert (now["accepted"], now["solved"]) == (None, False)


def test_a_topic_is_solved_without_an_answer_and_reopened(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    address = f"/api/conversations/{topic['id']}/topic/"
    solved = api(alice).patch(address, {"solved": True}).json()["topic"]
    assert (solved["solved"], solved["accepted"]) == (True, None)
    answer = say(api(bob), topic)
    accept(api(alice), answer)
    reopened = api(alice).patch(address, {"solved": False}).json()["topic"]
    assert (reopened["solved"], reopened["accepted"]) == (False, None)


def test_in_a_closed_topic_nothing_more_is_said(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    address = f"/api/conversations/{topic['id']}/topic/"
    api(alice).patch(address, {"closed": True})
    said = {"client_id": "1", "content": "x"}
    path = f"/api/conversations/{topic['id']}/messages/"
    assert api(bob).post(path, said).json()["code"] == "read_only"
    api(alice).patch(address, {"closed": False})
    assert api(bob).post(path, said).status_code == 201


def test_an_admin_who_archives_a_topic_closes_it(
    api: Api, alice: User, mod: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    Member.objects.filter(user=mod).update(role="admin")
    api(mod).post(f"/api/conversations/{topic['id']}/archive/")
    assert read(api(alice), topic)["closed"] is True


# --- Votes (there unlimited) ------------------------------------------------------------------


def test_one_vote_a_person_however_often_and_at_once(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    address = f"/api/messages/{topic['first_message']}/vote/"
    client = api(bob)

    def one(_: int) -> int:
        try:
            return int(client.put(address).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(8))) == {200}
    assert Reaction.objects.filter(message=topic["first_message"]).count() == 1
    refresh(topic)
    assert read(api(alice), topic)["votes"] == 1
    assert api(alice).put(address).status_code == 200
    refresh(topic)
    assert read(api(alice), topic)["votes"] == 2
    assert api(bob).delete(address).json()["tally"]["mine"] == []
    refresh(topic)
    assert read(api(alice), topic)["votes"] == 1


def test_answers_are_voted_for_and_that_is_no_vote_for_the_topic(
    api: Api, alice: User, bob: User, charlie: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    answer = say(api(bob), topic)
    assert api(charlie).put(f"/api/messages/{answer}/vote/").status_code == 404
    tally = api(alice).put(f"/api/messages/{answer}/vote/").json()["tally"]
    assert tally["mine"] == ["vote"]
    refresh(topic)
    changes = changes_since(user=alice, conversation_id=UUID(topic["id"]), since=None)
    (counted,) = changes.tallies
    assert str(counted.message) == answer
    assert [(kind.emoji, kind.count) for kind in counted.reactions] == [("vote", 1)]
    assert read(api(alice), topic)["votes"] == 0


def test_votes_are_for_topics_and_no_emoji_is_one(
    api: Api, alice: User, bob: User, forum: Conversation, group: Conversation
) -> None:
    elsewhere = say(api(alice), {"id": group.pk})
    assert api(bob).put(f"/api/messages/{elsewhere}/vote/").status_code == 400
    topic = ask(api(alice), forum)
    message = topic["first_message"]
    assert api(bob).put(f"/api/messages/{message}/reactions/vote/").status_code == 400
    for place in range(MAX_REACTIONS):
        assert api(bob).put(f"/api/messages/{message}/reactions/:{place}:/").status_code == 200
    assert api(bob).put(f"/api/messages/{message}/vote/").status_code == 200
    assert api(bob).put(f"/api/messages/{message}/reactions/:more:/").status_code == 409


# --- What a forum lists -----------------------------------------------------------------------


def test_answers_move_a_topic_and_are_counted(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    first, second = ask(api(alice), forum, "First"), ask(api(alice), forum, "Second")
    assert listed(api(bob), forum) == ["Second", "First"]
    answer = say(api(bob), first)
    say(api(bob), first)
    refresh(first)
    assert listed(api(bob), forum) == ["First", "Second"]
    assert read(api(bob), first)["replies"] == 2
    api(bob).delete(f"/api/messages/{answer}/")
    refresh(first)
    assert read(api(bob), first)["replies"] == 1
    api(alice).delete(f"/api/messages/{first['first_message']}/")
    refresh(first)
    assert read(api(bob), first)["replies"] == 1
    assert read(api(bob), second)["replies"] == 0


def test_a_topic_is_refreshed_soon_and_then_not_for_a_while(
    api: Api, alice: User, bob: User, forum: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_rows, "INTERVAL", 10.0)
    topic = ask(api(alice), forum)
    for replies in (1, 2):
        say(api(bob), topic)
        waits = topic_rows.refresh_topic(topic_id=topic["id"])
        assert (waits == 0) is (replies == 1)
        assert read(api(bob), topic)["replies"] == 1
    assert 0 < waits <= 10
    monkeypatch.setattr(topic_rows, "INTERVAL", 0.0)
    topic_rows.refresh_missed()
    assert read(api(bob), topic)["replies"] == 2


def test_what_changes_nothing_of_a_topic_takes_no_seq(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    answer = say(api(bob), topic)
    refresh(topic)
    before = read(api(bob), topic)["seq"]
    api(bob).put(f"/api/messages/{answer}/vote/")
    refresh(topic)
    assert read(api(bob), topic)["seq"] == before
    assert not Topic.objects.get().stale


def test_sorts_and_filters(
    api: Api, alice: User, bob: User, mod: User, forum: Conversation
) -> None:
    made = {name: ask(api(alice), forum, name, tags=[name[0].lower()]) for name in "ABCD"}
    say(api(bob), made["A"])
    api(bob).put(f"/api/messages/{made['B']['first_message']}/vote/")
    accept(api(alice), say(api(bob), made["C"]))
    for topic in made.values():
        refresh(topic)
    api(mod).patch(f"/api/conversations/{made['D']['id']}/topic/", {"closed": True})
    assert listed(api(bob), forum, sort="new") == ["D", "C", "B", "A"]
    assert listed(api(bob), forum, sort="active") == ["C", "A", "D", "B"]
    assert listed(api(bob), forum, sort="votes") == ["B", "D", "C", "A"]
    assert listed(api(bob), forum, sort="hot") == ["C", "B", "A", "D"]
    assert listed(api(bob), forum, sort="unanswered") == ["B"]
    assert listed(api(bob), forum, state="solved") == ["C"]
    assert listed(api(bob), forum, state="closed") == ["D"]
    assert listed(api(bob), forum, state="open", sort="new") == ["B", "A"]
    assert listed(api(bob), forum, tag="B") == ["B"]
    assert listed(api(bob), forum, q="c") == ["C"]
    assert listed(api(bob), forum, q="%") == []
    api(mod).patch(f"/api/conversations/{made['A']['id']}/topic/", {"pinned": True})
    for sort in ("new", "active", "votes", "hot"):
        assert listed(api(bob), forum, sort=sort)[0] == "A"
    for wrong in ({"sort": "old"}, {"state": "x"}, {"tag": ""}, {"limit": "x"}, {"cursor": "x"}):
        answer = api(bob).get(f"/api/conversations/{forum.pk}/topics/", wrong)
        assert answer.status_code == 400, wrong


def make(forum: Conversation, user: User, count: int, **values: str) -> None:
    """Many topics at once, in SQL: `values` are expressions of their `number`."""
    more = {"votes": "0", "pinned": "FALSE", "replies": "0", "solved": "FALSE", **values}
    statement = f"""
        WITH made AS (
            INSERT INTO chat_conversation (id, kind, title, model, language, seq, changed_seq,
                created_at, active_at, parent_id, access_id)
            SELECT gen_random_uuid(), 'discussion', 'Topic ' || number, '', '', 1, 0,
                now(), now(), %(forum)s::uuid, %(forum)s::uuid
            FROM generate_series(1, %(count)s) AS number RETURNING id, title
        ), rows AS (SELECT id, split_part(title, ' ', 2)::int AS number, title FROM made)
        INSERT INTO chat_topic (conversation_id, forum_id, client_id, author_id, title,
            first_message_id, solved, closed, pinned, deleted, tags, votes, views, replies, hot,
            created_at, active_at, seq, number, stale)
        SELECT id, %(forum)s::uuid, number::text, %(user)s::uuid, title, gen_random_uuid(),
            {more["solved"]}, FALSE, {more["pinned"]}, FALSE, ARRAY['t' || mod(number, 50)],
            {more["votes"]}, 0, {more["replies"]}, mod(number, 7),
            '2026-01-01'::timestamptz + number / 3 * interval '1 s',
            '2026-01-01'::timestamptz + mod(number, 5) * interval '1 s', number, number, FALSE
        FROM rows
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, {"forum": forum.pk, "user": user.pk, "count": count})


@pytest.mark.parametrize("sort", ["active", "new", "votes", "hot", "unanswered"])
def test_pages_have_each_topic_once_also_where_many_are_equal(
    api: Api, alice: User, forum: Conversation, sort: str
) -> None:
    make(forum, alice, 60, votes="mod(number, 3)", pinned="mod(number, 10) = 0")
    client, seen = api(alice), []
    following = f"/api/conversations/{forum.pk}/topics/?sort={sort}&limit=7"
    while following:
        page = client.get(following).json()
        assert len(page["results"]) <= 7
        seen += page["results"]
        following = page["next"]
    assert len({topic["id"] for topic in seen}) == len(seen) == 60
    by = {"active": "active_at", "votes": "votes", "hot": "hot"}.get(sort, "created_at")
    keys = [(topic["pinned"], topic[by], topic["id"]) for topic in seen]
    assert keys == sorted(keys, reverse=True)


def test_a_cursor_holds_for_its_own_order_only(api: Api, alice: User, forum: Conversation) -> None:
    make(forum, alice, 5)
    page = topic_page(user=alice, forum_id=forum.pk, sort="votes", limit=2)
    for sort, code in (("votes", 200), ("new", 400)):
        query = {"sort": sort, "cursor": page.cursor}
        assert api(alice).get(f"/api/conversations/{forum.pk}/topics/", query).status_code == code


def test_a_page_of_a_hundred_thousand_topics_reads_one_index_and_little_of_it(
    alice: User, forum: Conversation
) -> None:
    make(forum, alice, 100_000, votes="mod(number, 3)", replies="mod(number, 4)")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_topic")
    for sort in ("active", "new", "votes", "hot", "unanswered"):
        ordered = Topic.objects.filter(solved=False, replies=0).order_by(
            "-pinned", f"-{SORTS[sort]}", "-conversation_id"
        )
        deep = _write_cursor(ordered[10_000], sort)
        for place in (None, deep):
            plan = plan_of(user=alice, forum_id=forum.pk, sort=sort, cursor=place)
            nodes = list(_nodes(plan))
            assert "Sort" not in {node["Node Type"] for node in nodes}, sort
            assert f"topic_{sort}" in {node.get("Index Name") for node in nodes}, sort
            for node in nodes:
                rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                assert rows <= 60, (sort, place, node)


def plan_of(**asked: Any) -> dict[str, Any]:
    """How PostgreSQL finds a page of topics."""
    with CaptureQueriesContext(connection) as captured:
        topic_page(**asked)
    statements = [one["sql"] for one in captured if 'FROM "chat_topic"' in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statements[-1]}")
        (found,) = cursor.fetchone()
    plan: dict[str, Any] = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


# --- Views ------------------------------------------------------------------------------------


def test_one_view_a_person_and_day_and_nobody_is_told(
    api: Api, alice: User, bob: User, mod: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    for person in (bob, bob, mod):
        api(person).get(f"/api/conversations/{topic['id']}/changes/")
        topic_views.flush_views()
    api(bob).get(f"/api/conversations/{forum.pk}/changes/")
    topic_views.flush_views()
    now = read(api(alice), topic)
    assert (now["views"], now["seq"]) == (2, topic["seq"])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_topicview SET day = day - 2")
    topic_views.forget_views()
    api(bob).get(f"/api/conversations/{topic['id']}/changes/")
    topic_views.flush_views()
    assert read(api(alice), topic)["views"] == 3


# --- The end ----------------------------------------------------------------------------------


def test_authors_and_moderators_only_may_delete_a_topic(
    api: Api, alice: User, bob: User, mod: User, forum: Conversation
) -> None:
    for person in (alice, mod):
        topic = ask(api(alice), forum)
        address = f"/api/conversations/{topic['id']}/"
        assert api(bob).delete(address).status_code == 403
        assert api(person).delete(address).status_code == 204
        assert api(alice).get(address).status_code == 404
        assert api(alice).get(f"{address}topic/").status_code == 404
        assert listed(api(alice), forum) == []
    gone = changes_since(user=bob, conversation_id=forum.pk, since=0).topics
    assert [(one.deleted, one.title) for one in gone] == [(True, ""), (True, "")]


def test_with_a_forum_its_topics_are_deleted(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(alice), forum)
    assert forum.creator is not None
    delete_conversation(user=forum.creator, conversation_id=forum.pk)
    assert api(bob).get(f"/api/conversations/{topic['id']}/").status_code == 404
    delete_inner(conversation_id=forum.pk)
    assert Conversation.objects.get(pk=topic["id"]).deleted_at is not None
    Conversation.objects.update(deleted_at="2020-01-01T00:00Z")
    forget_deleted()
    assert Topic.objects.count() == 0


def test_who_leaves_the_forum_is_told_no_more_of_its_topics(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic = ask(api(bob), forum)
    member = Member.objects.get(conversation=forum, user=bob)
    remove_member(user=bob, conversation_id=forum.pk, member_id=member.pk)
    assert ReadState.objects.get(conversation=topic["id"], user=bob).gone
    assert api(bob).get(f"/api/conversations/{topic['id']}/topic/").status_code == 404
    assert api(bob).put(f"/api/messages/{topic['first_message']}/vote/").status_code == 404
    assert accept(api(bob), topic["first_message"]).status_code == 404


def test_what_a_guest_began_is_the_accounts_that_they_become(
    api: Api, alice: User, bob: User, forum: Conversation
) -> None:
    topic, own = ask(api(bob), forum, client_id="1"), ask(api(alice), forum, client_id="1")
    accept(api(bob), say(api(alice), topic))
    merge_in_conversation(conversation_id=UUID(topic["id"]), guest=bob, account=alice)
    now = read(api(alice), topic)
    assert (now["author"]["name"], now["accepted_by"]) == ("alice", str(alice.pk))
    assert read(api(alice), own)["seq"] == own["seq"]


# --- Who answers first ------------------------------------------------------------------------


def test_an_assistant_that_the_forum_names_answers_each_new_topic(
    api: Api, alice: User, bob: User, assistant: Assistant
) -> None:
    new = {"kind": "forum", "title": "Help", "assistant": "assistant", "members": [str(bob.pk)]}
    made = api(alice).post("/api/conversations/", new).json()
    assert made["responder"] == str(assistant.pk)
    forum = Conversation.objects.get(pk=made["id"])
    topic = ask(api(bob), forum)
    reply = Message.objects.get(conversation=topic["id"], role="assistant")
    assert (str(reply.parent_id), reply.status) == (topic["first_message"], "pending")
    Message.objects.filter(pk=reply.pk).update(status="complete", content="Like this.")
    assert api(alice).put(f"/api/messages/{reply.pk}/vote/").status_code == 200
    assert accept(api(bob), str(reply.pk)).status_code == 200


def test_who_answers_first_is_named_and_unnamed_by_those_who_govern(
    api: Api, alice: User, bob: User, forum: Conversation, assistant: Assistant
) -> None:
    address = f"/api/conversations/{forum.pk}/"
    assert api(bob).patch(address, {"responder": "assistant"}).status_code == 403
    Member.objects.filter(user=alice).update(role="admin")
    assert api(alice).patch(address, {"responder": "nobody"}).status_code == 400
    named = api(alice).patch(address, {"responder": "assistant"}).json()
    assert named["responder"] == str(assistant.pk)
    topic = ask(api(bob), forum)
    assert Message.objects.filter(conversation=topic["id"], role="assistant").count() == 1
    assert api(alice).patch(address, {"responder": None}).json()["responder"] is None
    topic = ask(api(bob), forum)
    assert Message.objects.filter(conversation=topic["id"], role="assistant").count() == 0


@pytest.mark.parametrize("gone", ["removed", "switched off"])
def test_an_assistant_that_is_gone_answers_nothing(
    api: Api, alice: User, bob: User, forum: Conversation, assistant: Assistant, gone: str
) -> None:
    Member.objects.filter(user=alice).update(role="admin")
    api(alice).patch(f"/api/conversations/{forum.pk}/", {"responder": "assistant"})
    if gone == "removed":
        Member.objects.filter(assistant=assistant).update(left_at="2026-01-01T00:00Z")
    else:
        Assistant.objects.update(is_active=False)
    topic = ask(api(bob), forum)
    assert Message.objects.filter(conversation=topic["id"]).count() == 1


def test_only_a_forum_names_who_answers_first(
    api: Api, alice: User, group: Conversation, assistant: Assistant
) -> None:
    answer = api(alice).patch(f"/api/conversations/{group.pk}/", {"responder": "assistant"})
    assert answer.status_code == 400
    assert group.members.filter(assistant=assistant).count() == 0
