"""Whom a message names, who is told of it, and where."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from chat import unread
from chat.change import changing
from chat.errors import TooManyMentions
from chat.models import Assistant, Conversation, Group, Mention, Message, ReadState
from chat.selectors.rooms import person_changes, room_state
from chat.services.conversations import (
    change_conversation,
    create_conversation,
    delete_conversation,
)
from chat.services.members import add_member, new_member, remove_member
from chat.services.messages import delete_message, edit_message, send_message
from chat.services.mine import mark_read
from chat.services.purge import purge_some
from chat.socket.pending_touches import rooms_touched
from chat.states import message_state
from chat.unread import Touch
from core.errors import NotAllowed
from protocol.limits import MAX_CONTENT, MAX_COUNTED, MAX_MENTIONS, MAX_NAMED

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[..., APIClient]


@pytest.fixture
def touches(monkeypatch: pytest.MonkeyPatch) -> list[Touch]:
    """What lists are told."""
    given: list[Touch] = []
    monkeypatch.setattr(unread, "_touch", given.append)
    return given


def say(user: User, room: Conversation, content: str, **options: Any) -> Message:
    return send_message(
        user=user, conversation_id=room.pk, client_id=uuid4().hex, content=content, **options
    ).message


def reword(user: User, message: Message, content: str) -> Message:
    return edit_message(
        user=user, message_id=message.pk, client_id=uuid4().hex, content=content
    ).message


def named(message: Message) -> list[str]:
    """What of a message's text names somebody."""
    return [
        message.content[one["start"] : one["start"] + one["length"]] for one in message.mentions
    ]


def told(message: Message) -> set[User]:
    return {row.user for row in Mention.objects.filter(message=message)}


def count(user: User, room: Conversation) -> int:
    return room_state(user.pk, room.pk).mine.mentions


# --- What is read in a text -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("@alice", ["@alice"]),
        ("hey @Alice, and @BOB.", ["@Alice", "@BOB"]),
        ("@alice @alice", ["@alice", "@alice"]),
        ("(@alice) **@bob** _@bob_ @alice's", ["@alice", "@bob", "@bob", "@alice"]),
        ("🙂 @alice 🙂🙂 @bob", ["@alice", "@bob"]),
        ("@all @everyone", ["@all", "@everyone"]),
        ("a@alice.org alice@alice @@alice @.alice /@alice \\@alice @ alice", []),
        ("@alicex @alice-x @al", []),
        ("`@alice` ``x ` @alice`` ` @bob", ["@bob"]),
        ("```\n@alice\n```\n@bob", ["@bob"]),
        ("~~~ py\n@alice\n```\n@alice\n~~~\n@bob\n~~~\n@alice", ["@bob"]),
        ("so:\n\n    @alice\n\n@bob\n    @alice", ["@bob", "@alice"]),
        ("one `tick\n\n@alice `", ["@alice"]),
        ("https://example.org/@alice <mailto:@alice> [@alice](/x) www.x.org/@bob", []),
        # A Cyrillic letter, a name with an accent of its own, full-width letters.
        ("@\u0430lice @alice\u0301 @\uff42\uff4f\uff42", ["@\uff42\uff4f\uff42"]),
    ],
)
def test_a_text_names_whom_its_prose_names(
    alice: User, group: Conversation, content: str, expected: list[str]
) -> None:
    assert named(say(alice, group, content)) == expected


def test_places_count_code_points(alice: User, bob: User, group: Conversation) -> None:
    (mention,) = message_state(say(alice, group, "🙂👍🏽 @bob")).mentions
    assert (mention.type, mention.id, mention.start, mention.length) == ("user", bob.pk, 4, 4)


@pytest.mark.parametrize(
    "content",
    [
        "@" * MAX_CONTENT,
        "@a" * (MAX_CONTENT // 2),
        "@a " * 10_000,
        " ".join(f"@x{number}" for number in range(4000)),
        "`" * MAX_CONTENT,
        "`a``b" * 6000 + "@bob",
        "[" * MAX_CONTENT,
        "[](" * 10_000,
        "<a:" * 10_000,
        "@" + "." * (MAX_CONTENT - 1),
        "    @a\n\n" * 4000,
    ],
)
def test_no_text_takes_long_to_be_read(alice: User, group: Conversation, content: str) -> None:
    """What grew with the square of a text's length would take minutes."""
    assert say(alice, group, content[:MAX_CONTENT]).mentions == []


def test_a_text_names_fifty_at_most(alice: User, group: Conversation) -> None:
    assert len(say(alice, group, "@bob " * MAX_MENTIONS).mentions) == MAX_MENTIONS
    with pytest.raises(TooManyMentions) as refused:
        say(alice, group, "@bob " * (MAX_MENTIONS + 1))
    assert refused.value.as_dict()["details"] == {"most": MAX_MENTIONS}
    assert Message.objects.count() == 1


# --- Who can be named --------------------------------------------------------------------------


def test_only_those_in_the_room_are_named(
    alice: User, bob: User, charlie: User, assistant: Assistant, group: Conversation
) -> None:
    Group.objects.create(slug="strangers", name="Strangers").people.add(charlie)
    assert named(say(alice, group, "@charlie @assistant @strangers")) == []
    with changing(group.pk) as change:
        new_member(change=change, user=charlie)
        new_member(change=change, assistant=assistant)
    message = say(alice, group, "@charlie @assistant @strangers")
    assert [one["type"] for one in message.mentions] == ["user", "assistant", "group"]
    assert told(message) == {charlie}
    remove_member(user=bob, conversation_id=group.pk, member_id=group.members.get(user=bob).pk)
    assert named(say(alice, group, "@bob")) == []


def test_nobody_takes_the_name_of_an_assistant_or_a_group(
    alice: User, bob: User, assistant: Assistant, group: Conversation
) -> None:
    for name in ("Assistant", "cooks", "all"):
        add_member(user=alice, conversation_id=group.pk, person=User.objects.create_user(name).pk)
    Group.objects.create(slug="Cooks", name="Cooks").people.add(bob)
    with changing(group.pk) as change:
        new_member(change=change, assistant=assistant)
    message = say(alice, group, "@assistant @cooks @all")
    assert [one["type"] for one in message.mentions] == ["assistant", "group", "all"]
    assert told(message) == {bob}


def test_a_group_names_its_people_who_are_there_and_a_name_weighs_more(
    alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    Group.objects.create(slug="cooks", name="Cooks").people.set([alice, bob, charlie])
    assert told(say(alice, group, "@cooks")) == {bob}
    assert Mention.objects.get().reason == "group"
    both = say(alice, group, "@cooks @bob")
    assert Mention.objects.get(message=both).reason == "name"


def test_a_message_names_two_hundred_people_at_most(alice: User, group: Conversation) -> None:
    crowd = [User(username=f"p{number}") for number in range(MAX_NAMED + 1)]
    User.objects.bulk_create(crowd)
    with changing(group.pk) as change:
        for person in crowd:
            new_member(change=change, user=person)
    cooks = Group.objects.create(slug="cooks", name="Cooks")
    cooks.people.set(crowd)
    with pytest.raises(TooManyMentions) as refused:
        say(alice, group, "@cooks")
    assert refused.value.as_dict()["details"] == {"most": MAX_NAMED}
    cooks.people.remove(crowd[0])
    assert len(told(say(alice, group, "@cooks"))) == MAX_NAMED


def test_alone_with_an_assistant_nobody_is_named(alice: User, chat: Conversation) -> None:
    assert say(alice, chat, "@alice @all @assistant").mentions == []


def test_everyone_has_no_rows(alice: User, bob: User, group: Conversation) -> None:
    message = say(alice, group, "@all")
    assert (message.mentions_all, told(message)) == (True, set())
    # Nor is whoever says it named, though they may mark it as unread.
    ReadState.objects.filter(user=alice).update(read=0)
    assert (count(bob, group), count(alice, group)) == (1, 0)
    assert (person_changes(user=bob).mentions, person_changes(user=alice).mentions) == (1, 0)


def test_in_a_small_room_every_member_names_everyone(bob: User, group: Conversation) -> None:
    assert say(bob, group, "@all").mentions_all
    Conversation.objects.filter(pk=group.pk).update(people=21)
    with pytest.raises(NotAllowed) as refused:
        say(bob, group, "@all")
    assert refused.value.details == {"action": "mention_all", "needs": "moderator"}


def test_the_policy_says_who_names_everyone(alice: User, bob: User, group: Conversation) -> None:
    change_conversation(user=alice, conversation_id=group.pk, policy={"mention_all": "admin"})
    with pytest.raises(NotAllowed):
        say(bob, group, "@all")
    message = say(bob, group, "hello")
    with pytest.raises(NotAllowed):
        reword(bob, message, "@everyone")
    # What named everyone already may be reworded.
    Message.objects.filter(pk=message.pk).update(mentions_all=True)
    assert reword(bob, message, "@everyone!").mentions_all


# --- What becomes of it ------------------------------------------------------------------------


def test_mentions_are_counted_until_they_are_read(
    alice: User, bob: User, group: Conversation
) -> None:
    say(alice, group, "@bob")
    say(alice, group, "@all")
    say(alice, group, "@bob @all @bob")
    last = say(alice, group, "hello")
    changes = person_changes(user=bob)
    assert (changes.mentions, changes.unread_rooms) == (3, 1)
    mine = changes.rooms[0].mine
    assert (mine.named, mine.mentions, mine.unread) == ([1, 2, 3], 3, 4)
    assert mark_read(user=bob, conversation_id=group.pk, number=2).named == [3]
    assert last.number is not None
    assert mark_read(user=bob, conversation_id=group.pk, number=last.number).mentions == 0
    assert person_changes(user=bob).mentions == 0


def test_of_many_the_newest_are_counted(alice: User, bob: User, group: Conversation) -> None:
    for _ in range(MAX_COUNTED + 2):
        last = say(alice, group, "@bob")
    mine = room_state(bob.pk, group.pk).mine
    assert (mine.mentions, mine.named[0], mine.named[-1]) == (MAX_COUNTED, 3, last.number)
    assert person_changes(user=bob).mentions == MAX_COUNTED


def test_an_edit_names_whom_its_wording_names(
    alice: User, bob: User, charlie: User, group: Conversation, touches: list[Touch]
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    message = say(alice, group, "@bob")
    first = Mention.objects.get()
    changed = reword(alice, message, "dear @bob and @charlie")
    assert named(changed) == ["@bob", "@charlie"]
    assert told(changed) == {bob, charlie}
    assert Mention.objects.get(user=bob) == first
    reword(alice, changed, "dear @charlie")
    assert (count(bob, group), count(charlie, group)) == (0, 1)
    naming = touches[-1].named[str(message.number)]
    assert (naming["people"], naming["all"]) == ([charlie.pk.hex], False)
    reword(alice, changed, "dear me")
    assert touches[-1].named[str(message.number)]["people"] == []
    assert (told(changed), count(charlie, group)) == (set(), 0)


def test_an_edit_that_names_the_same_tells_nobody_again(
    alice: User, group: Conversation, touches: list[Touch]
) -> None:
    message = say(alice, group, "@bob @all")
    assert touches[-1].named
    reword(alice, message, "hello @all, hello @bob")
    assert touches[-1].named == {}


def test_a_deleted_message_names_nobody(
    alice: User, bob: User, group: Conversation, touches: list[Touch]
) -> None:
    message = say(alice, group, "@bob @all")
    deleted = delete_message(user=alice, message_id=message.pk)
    assert message_state(deleted).mentions == []
    deleted.refresh_from_db()
    assert (deleted.mentions, deleted.mentions_all, told(deleted)) == ([], False, set())
    assert count(bob, group) == 0


def test_a_purged_conversation_leaves_no_mention(alice: User, group: Conversation) -> None:
    say(alice, group, "@bob")
    delete_conversation(user=alice, conversation_id=group.pk)
    purge_some(conversation_id=group.pk)
    assert not Mention.objects.exists()


def test_lists_are_told_whom_a_message_names(
    alice: User, bob: User, charlie: User, group: Conversation, touches: list[Touch]
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    message = say(alice, group, "@bob")
    for person, you in ((alice, False), (bob, True), (charlie, False)):
        (told_of,) = rooms_touched([touches[-1]], person.pk.hex).rooms[0].named
        assert (told_of.number, told_of.seq, told_of.you) == (message.number, message.seq, you)
    say(alice, group, "@all")
    for person, you in ((alice, False), (bob, True), (charlie, True)):
        (told_of,) = rooms_touched([touches[-1]], person.pk.hex).rooms[0].named
        assert told_of.you == you


@pytest.mark.parametrize("late", [False, True])
def test_of_what_names_are_told_of_a_message_the_newest_holds(late: bool) -> None:
    def naming(seq: int) -> unread.Naming:
        return {"seq": seq, "all": False, "people": [str(seq)], "by": None}

    one = Touch("c", 9, named={"1": naming(4), "2": naming(8)})
    other = Touch("c", 7, named={"1": naming(6), "2": naming(5)})
    merged = other.merged(one) if late else one.merged(other)
    assert {key: value["seq"] for key, value in merged.named.items()} == {"1": 6, "2": 8}


def test_a_message_without_a_name_costs_no_statement(
    alice: User, bob: User, group: Conversation, touches: list[Touch]
) -> None:
    def statements(content: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            say(alice, group, content)
        return len(captured)

    plain = statements("hello")
    assert statements("a@b.org `@bob`") == plain
    # Who that is; who is told.
    assert (statements("@nobody"), statements("@all"), statements("@bob")) == (
        plain + 1,
        plain + 1,
        plain + 2,
    )


# --- Over HTTP ---------------------------------------------------------------------------------


def test_those_in_a_room_learn_whom_they_may_name(
    api: Api, alice: User, bob: User, charlie: User, assistant: Assistant, group: Conversation
) -> None:
    User.objects.filter(pk=bob.pk).update(display_name="Robert Baker")
    Group.objects.create(slug="bakers", name="Bakers").people.set([bob, charlie])
    Group.objects.create(slug="strangers", name="Strangers").people.add(charlie)
    with changing(group.pk) as change:
        new_member(change=change, assistant=assistant)
    url = f"/api/conversations/{group.pk}/mentionable/"

    def handles(q: str) -> list[tuple[str, str, int | None]]:
        results = api(alice).get(url, {"q": q}).json()["results"]
        return [(one["type"], one["handle"], one["people"]) for one in results]

    assert handles("") == [
        ("assistant", "assistant", None),
        ("group", "bakers", 1),
        ("user", "alice", None),
        ("user", "bob", None),
        ("all", "all", 2),
    ]
    # A handle before a word of a name.
    assert handles("BA") == [("group", "bakers", 1), ("user", "bob", None)]
    assert handles("every") == [("all", "everyone", 2)]
    assert handles("%") == []
    assert api(charlie).get(url).status_code == 404
    assert api(alice).get(url, {"q": "x" * 81}).status_code == 400


def test_who_may_not_name_everyone_is_not_offered_it(
    api: Api, bob: User, group: Conversation
) -> None:
    Conversation.objects.filter(pk=group.pk).update(policy={"mention_all": "admin"})
    url = f"/api/conversations/{group.pk}/mentionable/"
    assert "all" not in [one["type"] for one in api(bob).get(url).json()["results"]]


def test_what_names_one_is_listed_the_newest_first(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    other = create_conversation(user=bob, kind="group", members=[alice.pk, charlie.pk])
    first = say(alice, group, "@bob")
    second = say(charlie, other, "@all")
    third = say(alice, group, "@bob @all")
    say(bob, group, "@bob @all")
    delete_message(user=alice, message_id=say(alice, group, "@bob").pk)
    page = api(bob).get("/api/me/mentions/", {"limit": 2}).json()
    assert [one["id"] for one in page["results"]] == [str(third.pk), str(second.pk)]
    rest = api(bob).get(page["next"]).json()
    assert [one["id"] for one in rest["results"]] == [str(first.pk)]


def test_what_names_one_is_listed_only_where_one_is(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    say(alice, group, "@bob @all")
    assert api(charlie).get("/api/me/mentions/").json()["results"] == []
    remove_member(user=alice, conversation_id=group.pk, member_id=group.members.get(user=bob).pk)
    assert api(bob).get("/api/me/mentions/").json()["results"] == []
    add_member(user=alice, conversation_id=group.pk, person=bob.pk)
    assert len(api(bob).get("/api/me/mentions/").json()["results"]) == 1
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    assert api(bob).get("/api/me/mentions/").json()["results"] == []


def test_groups_are_listed_for_those_with_an_account(api: Api, alice: User, bob: User) -> None:
    cooks = Group.objects.create(slug="cooks", name="Cooks")
    cooks.people.set([alice, bob])
    assert api(alice).get("/api/groups/").json()["results"] == [
        {"id": str(cooks.pk), "slug": "cooks", "name": "Cooks", "people": 2}
    ]
    guest = User.objects.create_user("visitor", is_guest=True)
    assert api(guest).get("/api/groups/").json()["results"] == []
    assert api().get("/api/groups/").status_code == 401


def test_half_a_surrogate_pair_is_refused(api: Api, alice: User, group: Conversation) -> None:
    answer = api(alice).post(
        f"/api/conversations/{group.pk}/messages/",
        '{"client_id": "1", "content": "@bob \\ud83d"}',
        content_type="application/json",
    )
    assert answer.status_code == 400
