"""Keeping order in a room: alice owns it, dora moderates, bob and eve are members, charlie is none.

What each role may do is walked by test_permissions; here is what then happens.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.utils import Error as DatabaseError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from chat.change import change as changes
from chat.errors import Silenced, SlowDown
from chat.models import AuditEntry, Conversation, Member, Message, Report, Revision
from chat.services import moderation, reports
from chat.services.conversations import change_conversation
from chat.services.members import add_member, ban_member, remove_member
from chat.services.messages import delete_message, edit_message, send_message
from chat.services.moderation import delete_messages_of, pin_message, silence_member
from chat.services.purge import purge_some
from chat.services.reactions import react
from chat.services.reports import report_message, resolve_report
from chat.services.revisions import erase_wordings
from core import publishing
from core.errors import ChatireError, Conflict, NotAllowed
from notifications.models import Notification

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)
TOMORROW = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def dora(alice: User, group: Conversation) -> User:
    """Who moderates."""
    return joined(alice, group, "dora", "moderator")


@pytest.fixture
def eve(alice: User, group: Conversation) -> User:
    """Another member."""
    return joined(alice, group, "eve")


def joined(alice: User, group: Conversation, name: str, role: str = "member") -> User:
    """Somebody new in the room."""
    user = User.objects.create_user(name, f"{name}@example.org")
    add_member(user=alice, conversation_id=group.pk, person=user.pk)
    Member.objects.filter(conversation=group, user=user).update(role=role)
    return user


def say(user: User, room: Conversation, content: str = "a secret", **options: Any) -> Message:
    """Say something; each time anew."""
    options = {"client_id": uuid4().hex, **options}
    return send_message(user=user, conversation_id=room.pk, content=content, **options).message


def reword(user: User, message: Message, content: str) -> None:
    """Say it differently."""
    edit_message(user=user, message_id=message.pk, client_id=uuid4().hex, content=content)


def member(user: User, room: Conversation) -> Member:
    """Somebody's place in the room."""
    return Member.objects.get(conversation=room, user=user)


def url(room: Conversation, path: str = "") -> str:
    """The address of the room, or of something in it."""
    return f"/api/conversations/{room.pk}/{path}"


def listed(client: APIClient, address: str) -> list[dict[str, Any]]:
    """What is there."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def acts(room: Conversation) -> list[tuple[str, str]]:
    """What the audit log has, and why, in order."""
    entries = AuditEntry.objects.filter(conversation=room).order_by("created_at", "pk")
    return list(entries.values_list("action", "reason"))


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Do all of it at the same time; what each returned, or how it was refused."""

    def run(act: Callable[[], object]) -> object:
        try:
            return act()
        except ChatireError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


# --- Quoting ---------------------------------------------------------------------------------


def test_nothing_is_quoted_across_conversations(
    api: Api, alice: User, group: Conversation, chat: Conversation
) -> None:
    elsewhere = send_message(
        user=alice, conversation_id=chat.pk, client_id="1", content="mine alone"
    ).message
    body = {"client_id": "2", "content": "as I said", "parent": str(elsewhere.pk)}
    refused = api(alice).post(url(group, "messages/"), body)
    assert refused.status_code == 400
    assert refused.json()["details"]["fields"][0]["field"] == "parent"


def test_what_was_said_before_one_came_is_not_quoted(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    before = say(alice, group)
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    body = {"client_id": "2", "content": "oh", "parent": str(before.pk)}
    assert api(charlie).post(url(group, "messages/"), body).status_code == 400


# --- Pins ------------------------------------------------------------------------------------


def test_what_is_pinned_is_listed_the_newest_first_and_goes_when_deleted(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    first, second, third = (say(alice, group, content) for content in "abc")
    for message in (first, second, third):
        answer = api(alice).put(f"/api/messages/{message.pk}/pin/")
        assert answer.json()["message"]["pinned_by"] == str(alice.pk)
    delete_message(user=alice, message_id=second.pk)
    shown = [row["content"] for row in listed(api(bob), url(group, "pins/"))]
    assert shown == ["c", "a"]
    api(alice).delete(f"/api/messages/{third.pk}/pin/")
    assert [row["content"] for row in listed(api(bob), url(group, "pins/"))] == ["a"]


def test_pinning_twice_is_pinning_once(alice: User, group: Conversation) -> None:
    message = say(alice, group)
    first = pin_message(user=alice, message_id=message.pk, on=True)
    again = pin_message(user=alice, message_id=message.pk, on=True)
    assert (first.seq, first.pinned_at) == (again.seq, again.pinned_at)
    assert acts(group) == [("message.pinned", "")]


def test_a_deleted_message_is_not_pinned(alice: User, group: Conversation) -> None:
    message = say(alice, group)
    delete_message(user=alice, message_id=message.pk)
    with pytest.raises(Conflict):
        pin_message(user=alice, message_id=message.pk, on=True)


def test_those_who_joined_later_see_no_earlier_pins(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    pin_message(user=alice, message_id=say(alice, group).pk, on=True)
    change_conversation(user=alice, conversation_id=group.pk, history="joined")
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    assert listed(api(charlie), url(group, "pins/")) == []


# --- Former wordings -------------------------------------------------------------------------


def test_an_edit_and_a_deletion_keep_what_was_said_before(
    api: Api, bob: User, alice: User, group: Conversation
) -> None:
    message = say(bob, group, "first")
    reword(bob, message, "second")
    reword(bob, message, "second")
    delete_message(user=alice, message_id=message.pk)
    kept = listed(api(alice), f"/api/messages/{message.pk}/revisions/")
    assert [(row["n"], row["content"], row["by"]["name"]) for row in kept] == [
        (1, "first", "bob"),
        (2, "second", "alice"),
    ]


def test_a_policy_shows_edits_to_all_but_never_what_was_deleted(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    change_conversation(user=alice, conversation_id=group.pk, policy={"revisions": "guest"})
    message = say(alice, group, "first")
    reword(alice, message, "second")
    assert len(listed(api(bob), f"/api/messages/{message.pk}/revisions/")) == 1
    delete_message(user=alice, message_id=message.pk)
    assert api(bob).get(f"/api/messages/{message.pk}/revisions/").status_code == 403


def test_where_nobody_moderates_nothing_is_kept(alice: User, chat: Conversation) -> None:
    message = say(alice, chat)
    delete_message(user=alice, message_id=message.pk)
    assert not Revision.objects.exists()


def test_an_installation_may_keep_nothing(alice: User, group: Conversation, settings: Any) -> None:
    settings.REVISIONS_KEPT = 0
    message = say(alice, group)
    reword(alice, message, "other")
    delete_message(user=alice, message_id=message.pk)
    delete_messages_of(
        user=alice, conversation_id=group.pk, member_id=member(_with(alice, group), group).pk
    )
    assert not Revision.objects.exists()


def _with(alice: User, group: Conversation) -> User:
    frank = joined(alice, group, "frank")
    say(frank, group)
    return frank


def test_former_wordings_are_erased_when_they_are_old(
    alice: User, bob: User, group: Conversation
) -> None:
    old, new = say(bob, group, "old"), say(bob, group, "new")
    report_message(user=alice, message_id=old.pk, reason="spam", note="see")
    for message in (old, new):
        delete_message(user=alice, message_id=message.pk)
    long_ago = timezone.now() - timedelta(days=31)
    Revision.objects.filter(message=old).update(at=long_ago)
    assert erase_wordings() == 1
    assert [row.content for row in Revision.objects.all()] == ["new"]
    # What was reported stays until it is decided.
    assert Report.objects.get().content == "old"
    Report.objects.update(resolved_at=long_ago)
    assert erase_wordings() == 1
    assert (Report.objects.get().content, Report.objects.get().note) == ("", "")


def test_a_purge_takes_wordings_and_reports_along(
    alice: User, bob: User, group: Conversation
) -> None:
    message = say(bob, group)
    report_message(user=alice, message_id=message.pk, reason="spam")
    delete_message(user=alice, message_id=message.pk)
    Conversation.objects.filter(pk=group.pk).update(deleted_at=timezone.now())
    purge_some(conversation_id=group.pk)
    assert not any(model.objects.exists() for model in (Message, Revision, Report))


# --- Deleting --------------------------------------------------------------------------------


def test_a_moderator_deletes_for_a_reason_and_it_is_told_who(
    api: Api, alice: User, bob: User, dora: User, group: Conversation
) -> None:
    message = say(bob, group)
    answer = api(dora).post(f"/api/messages/{message.pk}/removal/", {"reason": "rude"})
    assert answer.json()["message"]["deleted_by"] == str(dora.pk)
    assert acts(group)[-1] == ("message.deleted", "rude")
    entry = AuditEntry.objects.latest("created_at")
    assert (entry.actor, entry.person, entry.message_id) == (dora, bob, message.pk)


def test_deleting_ones_own_is_nobodys_business(bob: User, group: Conversation) -> None:
    delete_message(user=bob, message_id=say(bob, group).pk)
    assert acts(group) == []


def test_what_somebody_said_today_is_deleted_with_one_range_of_seqs(
    alice: User, bob: User, dora: User, group: Conversation
) -> None:
    old = say(bob, group, "yesterday")
    Message.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=25))
    said = [say(bob, group) for _ in range(3)]
    kept = say(alice, group)
    seq = Conversation.objects.get(pk=group.pk).seq
    place = member(bob, group)
    remove_member(user=alice, conversation_id=group.pk, member_id=place.pk)
    seq += 1
    # Also when they have left.
    assert delete_messages_of(user=dora, conversation_id=group.pk, member_id=place.pk) == 3
    rows = Message.objects.filter(pk__in=[message.pk for message in said]).order_by("seq")
    assert [row.seq for row in rows] == [seq + 1, seq + 2, seq + 3]
    assert {(row.content, row.deleted_by_id) for row in rows} == {("", dora.pk)}
    assert Conversation.objects.get(pk=group.pk).seq == seq + 3
    assert Revision.objects.count() == 3
    assert set(Message.objects.live()) == {old, kept}


def test_many_at_once_are_told_by_asking_clients_to_ask(
    alice: User, bob: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_TOLD", 2)
    monkeypatch.setattr(moderation, "_AT_ONCE", 3)
    for _ in range(4):
        say(bob, group)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(
        publishing,
        "publish_now",
        lambda *published: told.extend(
            json.loads(one.message["frame"]) for one in published if "frame" in one.message
        ),
    )
    deleted = delete_messages_of(
        user=alice, conversation_id=group.pk, member_id=member(bob, group).pk
    )
    assert deleted == 4
    assert [(frame["type"], frame["conversation"]) for frame in told] == [
        ("resync", str(group.pk)),
        ("message.updated", str(group.pk)),
    ]


def test_a_moderator_does_not_wipe_out_their_better(
    alice: User, dora: User, group: Conversation
) -> None:
    say(alice, group)
    with pytest.raises(NotAllowed):
        delete_messages_of(user=dora, conversation_id=group.pk, member_id=member(alice, group).pk)


# --- Silence ---------------------------------------------------------------------------------


def test_who_is_silenced_says_nothing_by_any_way_until_then(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    mine, theirs = say(bob, group), say(alice, group)
    silence_member(
        user=alice, conversation_id=group.pk, member_id=member(bob, group).pk, until=TOMORROW
    )
    refused = api(bob).post(url(group, "messages/"), {"client_id": "1", "content": "but"})
    assert (refused.status_code, refused.json()["code"]) == (403, "silenced")
    assert refused.json()["details"] == {"until": TOMORROW.isoformat()}
    with pytest.raises(Silenced):
        reword(bob, mine, "but")
    with pytest.raises(Silenced):
        react(user=bob, message_id=theirs.pk, emoji="👎", on=True)
    # Taking something back says nothing.
    delete_message(user=bob, message_id=mine.pk)
    # Nor does leaving and coming back lift it.
    remove_member(user=bob, conversation_id=group.pk, member_id=member(bob, group).pk)
    add_member(user=alice, conversation_id=group.pk, person=bob.pk)
    with pytest.raises(Silenced):
        say(bob, group)


def test_silence_ends_by_itself(alice: User, bob: User, group: Conversation) -> None:
    place = member(bob, group)
    silence_member(
        user=alice, conversation_id=group.pk, member_id=place.pk, until=TOMORROW, reason="loud"
    )
    Member.objects.filter(pk=place.pk).update(silenced_until=timezone.now())
    react(user=bob, message_id=say(bob, group).pk, emoji="👍", on=True)
    silence_member(user=alice, conversation_id=group.pk, member_id=place.pk, until=None)
    assert acts(group) == [("member.silenced", "loud"), ("member.unsilenced", "")]


# --- Slow mode -------------------------------------------------------------------------------


def slow(alice: User, group: Conversation, seconds: int = 30) -> None:
    """Let people wait between two messages."""
    change_conversation(user=alice, conversation_id=group.pk, slow_seconds=seconds)


def test_slow_mode_says_how_long_to_wait(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    slow(alice, group)
    said = say(bob, group, client_id="1")
    refused = api(bob).post(url(group, "messages/"), {"client_id": "2", "content": "and"})
    assert (refused.status_code, refused.json()["code"]) == (429, "slow_down")
    waits = refused.json()["details"]["retry_after"]
    assert 25 < waits <= 30
    assert refused.headers["Retry-After"] == str(waits)
    # An answer that got lost is asked for again.
    assert say(bob, group, client_id="1").pk == said.pk
    Member.objects.filter(user=bob).update(last_sent_at=timezone.now() - timedelta(seconds=31))
    say(bob, group)


def test_moderators_are_not_slowed_down(alice: User, dora: User, group: Conversation) -> None:
    slow(alice, group)
    for user in (alice, dora):
        say(user, group)
        say(user, group)


def test_two_devices_at_once_get_one_message_through(
    alice: User, bob: User, group: Conversation
) -> None:
    slow(alice, group)
    done = at_once(*[lambda: say(bob, group) for _ in range(4)])
    assert sum(isinstance(one, Message) for one in done) == 1
    assert sum(isinstance(one, SlowDown) for one in done) == 3


def test_slow_mode_is_not_dodged_by_leaving_or_deleting(
    alice: User, bob: User, group: Conversation
) -> None:
    slow(alice, group)
    delete_message(user=bob, message_id=say(bob, group).pk)
    with pytest.raises(SlowDown):
        say(bob, group)
    remove_member(user=bob, conversation_id=group.pk, member_id=member(bob, group).pk)
    add_member(user=alice, conversation_id=group.pk, person=bob.pk)
    with pytest.raises(SlowDown):
        say(bob, group)


def test_only_slow_rooms_pay_for_slow_mode(alice: User, bob: User, group: Conversation) -> None:
    counts = []
    for seconds in (0, 1):
        slow(alice, group, seconds)
        with CaptureQueriesContext(connection) as captured:
            say(bob, group)
        counts.append(len(captured))
    assert counts[1] == counts[0] + 1


def inside_of(room: Conversation) -> Conversation:
    """A thread of the room's, which its members read and write in."""
    return Conversation.objects.create(kind="thread", parent=room, access_id=room.pk)


def test_threads_are_as_slow_as_their_room_and_two_at_once_get_one_message_through(
    alice: User, bob: User, group: Conversation
) -> None:
    slow(alice, group)
    thread = inside_of(group)
    done = at_once(*[lambda place=place: say(bob, place) for place in (group, thread) * 2])
    assert sum(isinstance(one, Message) for one in done) == 1
    assert sum(isinstance(one, SlowDown) for one in done) == 3


def test_what_is_said_in_a_thread_is_its_rooms_business(
    api: Api, alice: User, bob: User, eve: User, dora: User, group: Conversation
) -> None:
    thread = inside_of(group)
    first, second = say(eve, thread, "one"), say(eve, thread, "two")
    report, _ = report_message(user=bob, message_id=first.pk, reason="spam")
    assert len(listed(api(dora), url(group, "reports/"))) == 1
    resolve_report(
        user=dora,
        conversation_id=group.pk,
        report_id=report.pk,
        resolution="silenced",
        until=TOMORROW,
    )
    with pytest.raises(Silenced):
        say(eve, thread)
    assert (
        delete_messages_of(user=alice, conversation_id=group.pk, member_id=member(eve, group).pk)
        == 1
    )
    assert not Message.objects.live().filter(pk__in=[first.pk, second.pk]).exists()
    assert len(listed(api(dora), f"/api/messages/{second.pk}/revisions/")) == 1
    assert [action for action, _ in acts(group)] == [
        "member.silenced",
        "message.deleted",
        "report.resolved",
        "messages.deleted",
    ]


# --- Reports ---------------------------------------------------------------------------------


def test_a_report_waits_for_moderators_and_says_not_by_whom(
    api: Api, bob: User, eve: User, dora: User, group: Conversation
) -> None:
    message = say(eve, group, "buy now")
    body = {"reason": "spam", "note": "again"}
    made = api(bob).post(f"/api/messages/{message.pk}/report/", body)
    again = api(bob).post(f"/api/messages/{message.pk}/report/", {"reason": "other"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    reword(eve, message, "nothing at all")
    (report,) = listed(api(dora), url(group, "reports/"))
    assert (report["content"], report["note"], report["reason"]) == ("buy now", "again", "spam")
    assert report["message"]["content"] == "nothing at all"
    told = {row.recipient.username for row in Notification.objects.filter(action="report.made")}
    assert told == {"alice", "dora"}
    notices = str(list(Notification.objects.filter(action="report.made").values()))
    assert str(bob.pk) not in json.dumps(report) + notices
    assert "buy now" not in notices


def test_nobody_reports_themselves_or_what_is_gone(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    own, gone = say(bob, group), say(alice, group)
    delete_message(user=alice, message_id=gone.pk)
    statuses = [
        api(user).post(f"/api/messages/{message.pk}/report/", {"reason": "spam"}).status_code
        for user, message in [(bob, own), (bob, gone), (charlie, own)]
    ]
    assert statuses == [400, 409, 404]


def test_reports_about_those_who_moderate_go_to_staff_and_their_betters(
    api: Api, alice: User, bob: User, dora: User, group: Conversation
) -> None:
    boss = User.objects.create_superuser("boss", "boss@example.org", "correct-horse-battery")
    of_dora, of_alice = say(dora, group), say(alice, group)
    for message in (of_dora, of_alice):
        report_message(user=bob, message_id=message.pk, reason="abuse")
    assert listed(api(dora), url(group, "reports/")) == []
    (report,) = listed(api(alice), url(group, "reports/"))
    assert report["message"]["id"] == str(of_dora.pk)
    staff = listed(api(boss), "/api/reports/")
    assert [row["reporter"]["name"] for row in staff] == ["bob", "bob"]
    assert api(alice).get("/api/reports/").status_code == 403
    about_alice = Report.objects.get(message=of_alice)
    for user, address in [
        (dora, url(group, f"reports/{about_alice.pk}/")),
        (alice, url(group, f"reports/{about_alice.pk}/")),
    ]:
        assert api(user).patch(address, {"resolution": "dismissed"}).status_code == 404
    address = f"/api/reports/{about_alice.pk}/"
    assert api(alice).patch(address, {"resolution": "dismissed"}).status_code == 403
    assert api(boss).patch(address, {"resolution": "deleted"}).status_code == 200
    of_alice.refresh_from_db()
    assert of_alice.deleted_by == boss


def test_two_moderators_decide_at_once_and_one_decision_holds(
    alice: User, bob: User, eve: User, dora: User, group: Conversation
) -> None:
    report, _ = report_message(user=bob, message_id=say(eve, group).pk, reason="spam")

    def decide(user: User, resolution: str) -> Report:
        return resolve_report(
            user=user,
            conversation_id=group.pk,
            report_id=report.pk,
            resolution=resolution,
        )

    done = at_once(lambda: decide(alice, "banned"), lambda: decide(dora, "dismissed"))
    assert sorted(type(one).__name__ for one in done) == ["Conflict", "Report"]
    report.refresh_from_db()
    is_banned = not Member.objects.present().filter(user=eve).exists()
    assert is_banned == (report.resolution == "banned")
    resolved = [action for action, _ in acts(group) if action == "report.resolved"]
    assert len(resolved) == 1


@pytest.mark.parametrize("resolution", ["dismissed", "deleted", "silenced", "banned"])
def test_a_decision_settles_all_reports_of_a_message(
    api: Api, alice: User, bob: User, eve: User, dora: User, group: Conversation, resolution: str
) -> None:
    message = say(eve, group)
    for user in (alice, bob):
        report_message(user=user, message_id=message.pk, reason="spam")
    report = Report.objects.get(reporter=bob)
    body = {"resolution": resolution, "reason": "enough", "until": TOMORROW.isoformat()}
    answer = api(dora).patch(url(group, f"reports/{report.pk}/"), body)
    assert answer.json()["resolution"] == resolution
    assert listed(api(dora), url(group, "reports/")) == []
    message.refresh_from_db()
    place = member(eve, group)
    assert (message.deleted_at is None) == (resolution == "dismissed")
    assert (place.silenced_until is not None) == (resolution == "silenced")
    assert (place.left_at is not None) == (resolution == "banned")
    assert acts(group)[-1] == ("report.resolved", "enough")


def test_who_left_can_still_be_banned_but_not_silenced(
    alice: User, bob: User, eve: User, group: Conversation
) -> None:
    report, _ = report_message(user=bob, message_id=say(eve, group).pk, reason="spam")
    remove_member(user=eve, conversation_id=group.pk, member_id=member(eve, group).pk)
    decision: dict[str, Any] = {"user": alice, "report_id": report.pk, "conversation_id": group.pk}
    with pytest.raises(Conflict):
        resolve_report(resolution="silenced", until=TOMORROW, **decision)
    resolve_report(resolution="banned", **decision)
    assert acts(group)[-3:] == [
        ("member.banned", ""),
        ("message.deleted", ""),
        ("report.resolved", ""),
    ]


def test_a_report_that_fails_half_way_leaves_nothing(
    alice: User, bob: User, eve: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = say(eve, group)
    report, _ = report_message(user=bob, message_id=message.pk, reason="spam")

    def broken(*_: object, **__: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(reports, "record_deletion", broken)
    with pytest.raises(DatabaseError):
        resolve_report(
            user=alice, conversation_id=group.pk, report_id=report.pk, resolution="banned"
        )
    message.refresh_from_db()
    assert message.deleted_at is None
    assert member(eve, group).left_at is None
    assert acts(group) == []


# --- The audit log ---------------------------------------------------------------------------


def test_the_audit_log_is_only_ever_added_to(alice: User, group: Conversation) -> None:
    pin_message(user=alice, message_id=say(alice, group).pk, on=True)
    for statement in (
        "UPDATE chat_auditentry SET reason = 'other'",
        "DELETE FROM chat_auditentry",
    ):
        with (
            pytest.raises(DatabaseError, match="only ever added to"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    # Nor does it keep a person from being deleted.
    User.objects.filter(pk=alice.pk).delete()
    assert AuditEntry.objects.get().actor_id == alice.pk


def test_admins_see_all_that_was_done_and_moderators_what_they_did(
    api: Api, alice: User, bob: User, dora: User, group: Conversation
) -> None:
    first, second = say(bob, group, "a secret"), say(bob, group, "a secret")
    change_conversation(user=alice, conversation_id=group.pk, access="listed", title="Dinner")
    delete_message(user=dora, message_id=first.pk, reason="rude")
    delete_message(user=alice, message_id=second.pk)
    ban_member(
        user=alice, conversation_id=group.pk, member_id=member(bob, group).pk, reason="enough"
    )
    shown = listed(api(alice), url(group, "audit/"))
    assert [(row["action"], row["actor"]["name"], row["reason"]) for row in shown] == [
        ("member.banned", "alice", "enough"),
        ("message.deleted", "alice", ""),
        ("message.deleted", "dora", "rude"),
        ("access.changed", "alice", ""),
    ]
    assert shown[-1]["details"] == {"was": "private", "now": "listed"}
    assert shown[0]["person"]["name"] == "bob"
    assert "a secret" not in json.dumps(shown)
    assert [row["action"] for row in listed(api(dora), url(group, "audit/"))] == ["message.deleted"]


def test_no_text_of_messages_is_logged(
    api: Api,
    alice: User,
    bob: User,
    eve: User,
    group: Conversation,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    message = say(eve, group, "xyzzy one")
    reword(eve, message, "xyzzy two")
    api(bob).post(f"/api/messages/{message.pk}/report/", {"reason": "spam", "note": "xyzzy"})
    report = Report.objects.get()
    body = {"resolution": "deleted", "reason": "xyzzy"}
    assert api(alice).patch(url(group, f"reports/{report.pk}/"), body).status_code == 200
    caplog_text = "\n".join(
        record.getMessage() for record in caplog.records if record.name != "django.db.backends"
    )
    assert "xyzzy" not in caplog_text + "".join(capsys.readouterr())
