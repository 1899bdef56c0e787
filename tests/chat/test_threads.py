"""Threads: who begins, reads and follows them, what is counted of them, and no badge sticks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from chat import feed
from chat.models import Assistant, Conversation, Feed, Member, Message, ReadState, Recount, Tally
from chat.replies.past import past_messages
from chat.selectors.rooms import conversations_of, person_changes, room_state
from chat.selectors.sync import changes_since
from chat.selectors.threads import followed_threads
from chat.services import reactions, threads
from chat.services.conversations import change_conversation, create_conversation
from chat.services.conversations import delete_conversation as delete
from chat.services.members import add_member, ban_member, remove_member
from chat.services.messages import delete_message, send_message
from chat.services.mine import change_mine, mark_read
from chat.services.purge import purge_some
from chat.services.threads import SentInThread, reply_in_thread, unfollow_quiet
from core.errors import Conflict, NotAllowed, NotFound
from protocol.states import MineState

pytestmark = pytest.mark.django_db(transaction=True)

Api = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under messages is counted when a test says so."""
    monkeypatch.setattr(reactions._counting, "soon", lambda conversation: None)
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)


@pytest.fixture
def root(alice: User, group: Conversation) -> Message:
    """What alice said to bob."""
    return say(alice, group, "Where do we eat?")


def say(user: User, room: Conversation, text: str = "hello") -> Message:
    return send_message(user=user, conversation_id=room.pk, client_id=text, content=text).message


def reply(user: User, message: Message, text: str = "Here.", **options: Any) -> SentInThread:
    """Say something in the thread of a message."""
    return reply_in_thread(
        user=user, message_id=message.pk, client_id=text, content=text, **options
    )


def leave(user: User, room: Conversation) -> None:
    member = Member.objects.get(conversation=room, user=user)
    remove_member(user=user, conversation_id=room.pk, member_id=member.pk)


def count(room: Conversation) -> int:
    """Count until all is counted; return the room's seq."""
    while reactions.count_reactions(conversation_id=room.pk):
        pass
    room.refresh_from_db()
    return room.seq


def tally(message: Message) -> Tally:
    return Tally.objects.get(message=message)


def mine(user: User, thread: Conversation) -> MineState:
    return room_state(user.pk, thread.pk).mine


def listed(user: User) -> set[UUID]:
    """What a first load of one's list has."""
    return {room.id for room in person_changes(user=user).rooms}


def address(message: Message) -> str:
    return f"/api/messages/{message.pk}/thread/"


# --- Beginning one --------------------------------------------------------------------------


def test_the_first_reply_makes_the_thread_and_the_next_ones_find_it(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, root: Message
) -> None:
    assert api(alice).get(address(root)).json()["thread"] is None
    body = {"client_id": "1", "content": "Here."}
    assert api(charlie).post(address(root), body).status_code == 404
    assert api().post(address(root), body).status_code == 401
    made = api(bob).post(address(root), body)
    assert made.status_code == 201
    thread = made.json()["thread"]
    assert (thread["kind"], thread["parent"], thread["root"], thread["members_of"]) == (
        "thread",
        str(group.pk),
        str(root.pk),
        str(group.pk),
    )
    assert made.json()["message"]["conversation"] == thread["id"]
    second = api(alice).post(address(root), {"client_id": "2", "content": "There."})
    assert second.json()["thread"]["id"] == thread["id"]
    assert api(alice).get(address(root)).json()["thread"]["id"] == thread["id"]
    assert api(charlie).get(address(root)).status_code == 404


def test_a_reply_that_is_sent_again_is_the_same(api: Api, bob: User, root: Message) -> None:
    body = {"client_id": "1", "content": "Here.", "also_in_room": True}
    first, again = (api(bob).post(address(root), body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Message.objects.count() == 3


def test_of_two_first_replies_at_once_one_makes_the_thread(
    alice: User, bob: User, root: Message
) -> None:
    def first(user: User) -> UUID:
        try:
            return reply(user, root).thread.pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(first, [alice, bob] * 4))
    assert len(set(found)) == 1
    assert Message.objects.filter(conversation=found[0]).count() == 2


def test_a_first_reply_that_is_refused_leaves_no_thread(api: Api, bob: User, root: Message) -> None:
    body = {"client_id": "1", "content": "Here.", "assistant": "nobody"}
    assert api(bob).post(address(root), body).status_code == 400
    assert not Conversation.objects.filter(kind="thread").exists()


def test_a_reply_that_is_also_for_the_room_quotes_there(
    bob: User, group: Conversation, root: Message
) -> None:
    done = reply(bob, root, also_in_room=True)
    assert done.in_room is not None
    assert (done.in_room.conversation_id, done.in_room.parent_id, done.in_room.content) == (
        group.pk,
        root.pk,
        "Here.",
    )
    assert done.sent.message.conversation_id == done.thread.pk


def test_a_guest_goes_on_with_a_thread_and_begins_none(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    Member.objects.filter(conversation=group, user=bob).update(role="guest")
    with pytest.raises(NotAllowed):
        reply(bob, root)
    reply(alice, root)
    assert reply(bob, root).sent.created


def test_a_room_without_threads_takes_no_reply_in_one(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    thread = reply(bob, root).thread
    change_conversation(user=alice, conversation_id=group.pk, threads="off")
    for attempt in (
        lambda: reply(bob, root, "more"),
        lambda: reply(bob, say(alice, group, "other"), "first"),
        lambda: say(bob, thread, "straight"),
    ):
        with pytest.raises(Conflict):
            attempt()
    assert changes_since(user=bob, conversation_id=thread.pk, since=None).messages


def test_where_one_replies_only_in_threads_nothing_is_quoted_in_the_room(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, threads="only")
    with pytest.raises(Conflict):
        send_message(
            user=bob, conversation_id=group.pk, client_id="1", content="so", parent=root.pk
        )
    with pytest.raises(Conflict):
        reply(bob, root, also_in_room=True)
    assert say(bob, group, "something else")
    assert reply(bob, root).sent.created


def test_only_who_governs_a_room_says_whether_it_has_threads(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    path = f"/api/conversations/{group.pk}/"
    assert api(bob).patch(path, {"threads": "off"}).status_code == 403
    assert api(alice).patch(path, {"threads": "off"}).json()["threads"] == "off"
    assert api(alice).patch(path, {"threads": "often"}).status_code == 400


def test_no_thread_hangs_on_a_thread_an_assistants_conversation_or_what_was_deleted(
    api: Api, alice: User, bob: User, chat: Conversation, group: Conversation, root: Message
) -> None:
    inner = reply(bob, root).sent.message
    alone = say(alice, chat)
    gone = say(alice, group, "gone")
    delete_message(user=alice, message_id=gone.pk)
    for message, status in ((inner, 400), (alone, 400), (gone, 409)):
        body = {"client_id": "1", "content": "Here."}
        assert api(alice).post(address(message), body).status_code == status


def test_a_quote_from_the_room_is_refused_in_a_thread(
    api: Api, bob: User, group: Conversation, root: Message
) -> None:
    body = {"client_id": "1", "content": "Here.", "parent": str(root.pk)}
    assert api(bob).post(address(root), body).status_code == 400


# --- Following it ---------------------------------------------------------------------------


def test_who_wrote_what_is_replied_to_and_whoever_replies_follow_and_nobody_else(
    alice: User, bob: User, charlie: User, group: Conversation, root: Message
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    thread = reply(bob, root).thread
    assert (mine(alice, thread).unread, mine(bob, thread).unread) == (1, 0)
    assert not mine(charlie, thread).follows
    assert set(ReadState.objects.filter(conversation=thread).values_list("user", flat=True)) == {
        alice.pk,
        bob.pk,
    }
    # The room's own count knows nothing of it.
    assert mine(alice, group).unread == 0
    mark_read(user=alice, conversation_id=thread.pk, number=1)
    assert mine(alice, thread).unread == 0


def test_the_author_of_what_is_replied_to_follows_only_while_they_are_in_the_room(
    alice: User, bob: User, group: Conversation
) -> None:
    said = say(bob, group, "bye")
    leave(bob, group)
    thread = reply(alice, said).thread
    assert set(ReadState.objects.filter(conversation=thread).values_list("user", flat=True)) == {
        alice.pk
    }


def test_one_follows_and_unfollows_as_one_likes(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, root: Message
) -> None:
    thread = reply(alice, root).thread
    path = f"/api/conversations/{thread.pk}/mine/"
    assert api(charlie).patch(path, {"follows": True}).status_code == 404
    followed = api(bob).patch(path, {"follows": True}).json()["mine"]
    assert (followed["follows"], followed["unread"], followed["read"]) == (True, 0, 1)
    reply(alice, root, "more")
    assert mine(bob, thread).unread == 1
    assert thread.pk in listed(bob)
    left = api(bob).patch(path, {"follows": False}).json()["mine"]
    assert (left["follows"], left["unread"]) == (False, 0)
    assert thread.pk not in listed(bob)
    again = api(bob).patch(path, {"follows": True, "level": "none"}).json()["mine"]
    assert (again["follows"], again["level"]) == (True, "none")
    room = f"/api/conversations/{group.pk}/mine/"
    assert api(bob).patch(room, {"follows": False}).status_code == 400


def test_the_feed_has_no_gap_when_somebody_leaves_while_they_begin_to_follow(
    monkeypatch: pytest.MonkeyPatch, alice: User, bob: User, group: Conversation, root: Message
) -> None:
    thread = reply(alice, root).thread
    take = feed.take_seqs

    def take_late(people: Any) -> dict[UUID, int]:
        monkeypatch.setattr(feed, "take_seqs", take)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(leaving).result()
        return take(people)

    def leaving() -> None:
        leave(bob, group)
        connection.close()

    monkeypatch.setattr(feed, "take_seqs", take_late)
    with transaction.atomic():
        told = feed.follow(thread.pk, {bob.pk: 0})
    assert not ReadState.objects.filter(conversation=thread, user=bob).exists()
    assert [one.message["seq"] for one in told] == [Feed.objects.get(user=bob).seq]


# --- Leaving the room -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leaves", "is removed", "is banned"])
def test_who_is_out_of_the_room_is_out_of_its_threads_at_once(
    api: Api, alice: User, bob: User, group: Conversation, root: Message, how: str
) -> None:
    thread = reply(bob, root).thread
    reply(alice, root, "more")
    message = reply(alice, root, "still more").sent.message
    begun = person_changes(user=bob)
    assert begun.unread_rooms == 2
    member = Member.objects.get(conversation=group, user=bob)
    if how == "leaves":
        leave(bob, group)
    elif how == "is removed":
        remove_member(user=alice, conversation_id=group.pk, member_id=member.pk)
    else:
        ban_member(user=alice, conversation_id=group.pk, member_id=member.pk)

    client = api(bob)
    path = f"/api/conversations/{thread.pk}/"
    for gone in (
        address(root),
        path,
        f"{path}messages/",
        f"{path}changes/",
        f"/api/messages/{message.pk}/",
        f"/api/messages/{message.pk}/reactions/",
    ):
        assert client.get(gone).status_code == 404, gone
    said = {"client_id": "9", "content": "psst"}
    assert client.post(f"{path}messages/", said).status_code == 404
    assert client.post(address(root), said).status_code == 404
    assert client.post(f"{path}read/", {"number": 3}).status_code == 404
    assert client.patch(f"{path}mine/", {"follows": True}).status_code == 404
    assert client.put(f"/api/messages/{message.pk}/reactions/👍/").status_code == 404
    quote = {**said, "parent": str(message.pk)}
    other = create_conversation(user=bob, kind="group")
    assert client.post(f"/api/conversations/{other.pk}/messages/", quote).status_code == 400
    assert client.get("/api/me/threads/").json()["results"] == []
    now = person_changes(user=bob, since=begun.seq, at=begun.at)
    assert set(now.gone) == {group.pk, thread.pk}
    assert now.unread_rooms == 0
    assert conversations_of([bob.pk])[bob.pk][1] == [other.pk.hex]


def test_who_comes_back_follows_again_and_has_nothing_unread(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    thread = reply(bob, root).thread
    other = reply(bob, say(alice, group, "other")).thread
    change_mine(user=bob, conversation_id=other.pk, follows=False)
    leave(bob, group)
    reply(alice, root, "meanwhile")
    begun = person_changes(user=bob)
    add_member(user=alice, conversation_id=group.pk, person=bob.pk)
    back = person_changes(user=bob, since=begun.seq, at=begun.at)
    assert {room.id for room in back.rooms} == {group.pk, thread.pk}
    assert (mine(bob, thread).follows, mine(bob, thread).unread) == (True, 0)
    assert not mine(bob, other).follows


def test_who_may_not_read_what_a_thread_hangs_on_finds_no_thread(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, root: Message
) -> None:
    thread = reply(bob, root).thread
    reply(alice, root, "more")
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    leave(bob, group)
    for person in (bob, charlie):
        add_member(user=alice, conversation_id=group.pk, person=person.pk)
        client = api(person)
        assert client.get(address(root)).status_code == 404
        assert client.get(f"/api/conversations/{thread.pk}/").status_code == 404
        assert client.get(f"/api/conversations/{thread.pk}/changes/").status_code == 404
        said = {"client_id": "9", "content": "psst"}
        assert client.post(address(root), said).status_code == 404
        assert client.post(f"/api/conversations/{thread.pk}/messages/", said).status_code == 404
        assert thread.pk not in listed(person)
    after = say(alice, group, "after")
    assert reply(charlie, after).sent.created


def test_a_room_that_begins_to_hide_what_was_before_leaves_no_badge_of_it(
    alice: User, bob: User, charlie: User, group: Conversation, root: Message
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    thread = reply(charlie, root).thread
    reply(alice, root, "more")
    assert person_changes(user=charlie).unread_rooms == 1
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    changes = person_changes(user=charlie)
    assert (thread.pk in {room.id for room in changes.rooms}, changes.unread_rooms) == (False, 0)


def test_what_hung_on_a_deleted_room_is_deleted_with_it(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    thread = reply(bob, root).thread
    begun = person_changes(user=alice)
    delete(user=alice, conversation_id=group.pk)
    now = person_changes(user=alice, since=begun.seq, at=begun.at)
    assert set(now.gone) == {group.pk, thread.pk}
    assert now.unread_rooms == 0
    for read in (
        lambda: say(bob, thread, "psst"),
        lambda: changes_since(user=bob, conversation_id=thread.pk, since=None),
    ):
        with pytest.raises(NotFound):
            read()
    assert not purge_some(conversation_id=group.pk)
    assert not Message.objects.exists()
    count(group)
    assert not Recount.objects.exists()


def test_a_deleted_thread_is_under_its_message_no_more_which_may_have_another(
    api: Api, alice: User, bob: User, group: Conversation, root: Message
) -> None:
    thread = reply(bob, root).thread
    count(group)
    delete(user=alice, conversation_id=thread.pk)
    count(group)
    assert (tally(root).thread_id, tally(root).replies) == (None, 0)
    assert api(bob).get(address(root)).json()["thread"] is None
    assert reply(bob, root, "again").thread.pk != thread.pk


# --- What is counted ------------------------------------------------------------------------


def test_what_hangs_on_a_message_is_counted_under_it(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    before = count(group)
    thread = reply(bob, root).thread
    last = reply(alice, root, "There.").sent.message
    reply(bob, root, "No.")
    delete_message(user=bob, message_id=Message.objects.get(client_id="No.").pk)
    assert count(group) == before + 1
    changes = changes_since(user=alice, conversation_id=group.pk, since=before)
    (shown,) = changes.tallies
    assert (shown.message, shown.thread, shown.replies, shown.replied_at) == (
        root.pk,
        thread.pk,
        2,
        last.created_at,
    )
    assert [(one.type, one.name) for one in shown.repliers] == [("user", "bob"), ("user", "alice")]


def test_five_faces_are_shown_those_who_replied_first(
    alice: User, group: Conversation, root: Message
) -> None:
    people = [User.objects.create_user(f"person{n}", f"{n}@example.org") for n in range(7)]
    for person in people:
        add_member(user=alice, conversation_id=group.pk, person=person.pk)
        reply(person, root, person.username)
    reply(people[0], root, "again")
    count(group)
    assert [one["id"] for one in tally(root).repliers] == [str(one.pk) for one in people[:5]]
    assert tally(root).replies == 8


def test_reactions_and_replies_are_counted_in_one_change_and_neither_loses_the_other(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    before = count(group)
    thread = reply(bob, root).thread
    reactions.react(user=bob, message_id=root.pk, emoji="👍", on=True)
    assert count(group) == before + 1
    reply(bob, root, "more")
    count(group)
    assert (tally(root).reactions[0]["emoji"], tally(root).replies) == ("👍", 2)
    shown = reactions.react(user=alice, message_id=root.pk, emoji="👍", on=True)
    assert (shown.thread, shown.replies, shown.repliers[0].name) == (thread.pk, 2, "bob")
    count(group)
    assert (tally(root).reactions[0]["count"], tally(root).replies) == (2, 2)


def test_what_died_before_it_counted_is_found(
    bob: User, group: Conversation, root: Message
) -> None:
    reply(bob, root)
    assert not Tally.objects.exists()
    reactions.count_missed()
    assert tally(root).replies == 1
    assert not Recount.objects.exists()


def test_a_reply_that_is_not_stored_yet_is_not_missed(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    """Counting does not take what an open change is about to ask for again."""
    reply(bob, root)
    with transaction.atomic():
        reply(bob, root, "more")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(counted_elsewhere, group).result()
    reactions.count_missed()
    assert tally(root).replies == 2


def counted_elsewhere(group: Conversation) -> None:
    reactions.count_reactions(conversation_id=group.pk)
    connection.close()


def test_what_is_said_in_threads_changes_nothing_of_the_room_but_its_tallies(
    alice: User, bob: User, group: Conversation, root: Message
) -> None:
    group.refresh_from_db()
    before = group.seq, group.number, group.active_at
    for text in "abc":
        reply(bob, root, text)
    group.refresh_from_db()
    assert (group.seq, group.number, group.active_at) == before


# --- The list -------------------------------------------------------------------------------


def test_followed_threads_are_listed_by_activity_with_what_they_hang_on(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    roots = [say(alice, group, text) for text in "abc"]
    for root in roots:
        reply(bob, root, f"re: {root.content}")
    reply(bob, roots[0], "up")
    page = api(alice).get("/api/me/threads/?limit=2").json()
    assert [item["root"]["content"] for item in page["results"]] == ["a", "c"]
    assert page["results"][0]["thread"]["mine"]["unread"] == 2
    rest = api(alice).get(page["next"]).json()
    assert [item["root"]["content"] for item in rest["results"]] == ["b"]
    assert api().get("/api/me/threads/").status_code == 401


def test_the_list_costs_what_one_follows_and_not_what_one_ever_followed(
    api: Api, alice: User, bob: User, group: Conversation, root: Message
) -> None:
    thread = reply(bob, root).thread
    former = Conversation.objects.bulk_create(
        [
            Conversation(kind="thread", parent=group, access_id=group.pk, root_id=UUID(int=n + 1))
            for n in range(10_000)
        ],
        batch_size=1000,
    )
    ReadState.objects.bulk_create(
        [
            ReadState(user=alice, conversation=one, access_id=group.pk, follows=False, gone=True)
            for one in former
        ],
        batch_size=1000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_readstate, chat_conversation")
        sql, values = followed_threads(alice).order_by("-active_at")[:51].query.sql_with_params()
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", values)
        (plan,) = cursor.fetchone()
    nodes = list(parts(plan[0]["Plan"]))
    assert "readstate_follows" in {node.get("Index Name") for node in nodes}
    assert max(node["Actual Rows"] for node in nodes) <= 2
    assert "Seq Scan" not in {
        node["Node Type"] for node in nodes if node.get("Relation Name") != "chat_member"
    }
    client = api(alice)
    with CaptureQueriesContext(connection) as few:
        assert len(client.get("/api/me/threads/").json()["results"]) == 1
    for text in ("x", "y"):
        reply(bob, say(alice, group, text), f"re: {text}")
    with CaptureQueriesContext(connection) as more:
        assert len(client.get("/api/me/threads/").json()["results"]) == 3
    assert len(more) == len(few)
    assert thread.pk in listed(alice)


def parts(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from parts(part)


def test_quiet_threads_that_are_read_are_unfollowed_and_no_others(
    alice: User, bob: User, group: Conversation
) -> None:
    quiet, unread, lively = (
        reply(bob, say(alice, group, text), f"re: {text}").thread for text in "abc"
    )
    removed = reply(bob, Message.objects.get(client_id="a"), "removed").sent.message
    for thread in (quiet, lively):
        mark_read(user=alice, conversation_id=thread.pk, number=1)
    delete_message(user=bob, message_id=removed.pk)
    long_ago = timezone.now() - threads.QUIET - timedelta(days=1)
    Conversation.objects.filter(pk__in=[quiet.pk, unread.pk]).update(active_at=long_ago)
    begun = person_changes(user=alice)
    while unfollow_quiet():
        pass
    assert {thread.pk for thread in followed_threads(alice)} == {unread.pk, lively.pk}
    assert person_changes(user=alice, since=begun.seq, at=begun.at).gone == [quiet.pk]
    assert {thread.pk for thread in followed_threads(bob)} == {lively.pk}


# --- Assistants -----------------------------------------------------------------------------


def test_an_assistant_is_told_the_thread_and_what_it_hangs_on(
    alice: User, bob: User, group: Conversation, assistant: Assistant, root: Message
) -> None:
    Member.objects.create(conversation=group, assistant=assistant)
    say(bob, group, "of something else")
    reply(bob, root, "first")
    done = reply(alice, root, "second", assistant="assistant")
    assert done.sent.reply is not None
    told = past_messages(done.sent.reply, done.thread)
    assert [(past.content, past.author_name) for past in told] == [
        ("second", "alice"),
        ("first", "bob"),
        ("Where do we eat?", "alice"),
    ]


def test_replies_in_two_threads_wait_for_nothing_of_each_other(
    alice: User, group: Conversation, assistant: Assistant, root: Message
) -> None:
    Member.objects.create(conversation=group, assistant=assistant)
    other = say(alice, group, "other")
    for message in (root, other):
        reply(alice, message, "so?", assistant="assistant")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT lock) FROM procrastinate_jobs WHERE lock LIKE 'replies:%'"
        )
        assert cursor.fetchone() == (2,)
