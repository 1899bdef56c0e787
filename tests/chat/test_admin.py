"""Rooms managed in the admin: what is done there is told like anything else."""

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from chat.models import (
    Assistant,
    Attendance,
    AuditEntry,
    Block,
    Conversation,
    Group,
    Invitation,
    JoinRequest,
    Member,
    Message,
    PersonStatus,
    Reaction,
    Report,
    Revision,
    Sanction,
    Tally,
)
from chat.services.blocks import block
from chat.services.messages import delete_message, send_message
from chat.services.reactions import count_reactions, react
from chat.services.reports import report_message

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    """Someone who may do everything, signed in to the admin."""
    boss = User.objects.create_superuser("boss", "boss@example.org", "correct-horse-battery")
    client.force_login(boss)
    return client


def members_form(*members: Member, **changed: object) -> dict[str, object]:
    """Return the inline form of these members, unchanged, and what is to be different."""
    form: dict[str, object] = {
        "members-TOTAL_FORMS": len(members) + (1 if "members-new-user" in changed else 0),
        "members-INITIAL_FORMS": len(members),
    }
    for number, member in enumerate(members):
        form |= {
            f"members-{number}-id": str(member.pk),
            f"members-{number}-user": str(member.user_id or ""),
            f"members-{number}-assistant": str(member.assistant_id or ""),
            f"members-{number}-role": member.role,
            f"members-{number}-nickname": member.nickname,
        }
    if "members-new-user" in changed:
        user = changed.pop("members-new-user")
        form |= {
            f"members-{len(members)}-user": str(user),
            f"members-{len(members)}-role": "member",
        }
    return form | changed


def change(staff: Client, group: Conversation, **changed: object) -> None:
    """Save the room's page with these differences."""
    members = list(Member.objects.filter(conversation=group, left_at=None).order_by("pk"))
    url = reverse("admin:chat_conversation_change", args=[group.pk])
    answer = staff.post(url, {"title": group.title, **members_form(*members, **changed)})
    assert answer.status_code == 302, answer.content.decode()[:3000]
    group.refresh_from_db()


@pytest.mark.parametrize(
    "model", ["assistant", "conversation", "member", "message", "reaction", "tally"]
)
def test_every_list_and_form_opens(
    staff: Client, alice: User, chat: Conversation, model: str
) -> None:
    said = send_message(user=alice, conversation_id=chat.pk, client_id="1", content="hello")
    react(user=alice, message_id=said.message.pk, emoji="👍", on=True)
    count_reactions(conversation_id=chat.pk)
    rows = {
        "assistant": Assistant,
        "conversation": Conversation,
        "member": Member,
        "reaction": Reaction,
        "tally": Tally,
    }
    row = rows.get(model, Message).objects.first()

    assert staff.get(reverse(f"admin:chat_{model}_changelist")).status_code == 200
    page = staff.get(reverse(f"admin:chat_{model}_change", args=[row.pk]))
    assert page.status_code == 200


def test_a_group_is_made_of_people(staff: Client, bob: User) -> None:
    url = reverse("admin:chat_group_add")
    form = {"name": "Cooks", "slug": "cooks", "people": [str(bob.pk)]}
    assert staff.post(url, form).status_code == 302
    group = Group.objects.get(slug="cooks")
    assert list(group.people.all()) == [bob]
    page = staff.get(reverse("admin:chat_group_change", args=[group.pk]))
    assert page.status_code == 200
    # In other letters it would be the same word.
    answer = staff.post(url, {"name": "Others", "slug": "Cooks"})
    assert "There is a group of this name already." in answer.content.decode()


@pytest.mark.parametrize("model", ["revision", "report", "block", "auditentry"])
def test_what_keeps_order_is_looked_at(
    staff: Client, alice: User, bob: User, group: Conversation, model: str
) -> None:
    said = send_message(user=bob, conversation_id=group.pk, client_id="1", content="hello").message
    report_message(user=alice, message_id=said.pk, reason="spam")
    delete_message(user=alice, message_id=said.pk, reason="spam")
    block(user=alice, person=bob.pk, on=True)
    rows = {"revision": Revision, "report": Report, "block": Block, "auditentry": AuditEntry}
    row = rows[model].objects.first()
    assert staff.get(reverse(f"admin:chat_{model}_changelist")).status_code == 200
    url = reverse(f"admin:chat_{model}_change", args=[row.pk])
    assert staff.get(url).status_code == 200
    # Former wordings alone may be erased here.
    deletes = staff.post(reverse(f"admin:chat_{model}_delete", args=[row.pk]), {"post": "yes"})
    assert deletes.status_code == (302 if model == "revision" else 403)


def test_staff_decide_about_reports_of_those_who_moderate(
    staff: Client, alice: User, bob: User, group: Conversation
) -> None:
    said = send_message(user=alice, conversation_id=group.pk, client_id="1", content="hm").message
    report, _ = report_message(user=bob, message_id=said.pk, reason="abuse")
    chosen = {"action": "delete_reported", "_selected_action": [str(report.pk)]}
    assert staff.post(reverse("admin:chat_report_changelist"), chosen).status_code == 302
    said.refresh_from_db()
    assert said.deleted_at is not None
    entry = AuditEntry.objects.get(action="report.resolved")
    assert (entry.actor.username, entry.as_staff) == ("boss", True)


@pytest.mark.parametrize("model", ["invitation", "joinrequest", "sanction"])
def test_ways_into_rooms_are_looked_at(
    staff: Client, alice: User, bob: User, group: Conversation, model: str
) -> None:
    rows = {
        "invitation": Invitation.objects.create(conversation=group, by=alice),
        "joinrequest": JoinRequest.objects.create(conversation=group, user=bob),
        "sanction": Sanction.objects.create(conversation=group, user=bob),
    }
    assert staff.get(reverse(f"admin:chat_{model}_changelist")).status_code == 200
    page = staff.get(reverse(f"admin:chat_{model}_change", args=[rows[model].pk]))
    assert page.status_code == 200


@pytest.mark.parametrize("model", ["personstatus", "attendance"])
def test_who_is_here_is_looked_at(staff: Client, alice: User, model: str) -> None:
    rows = {
        "personstatus": PersonStatus.objects.create(user=alice, text="at lunch"),
        "attendance": Attendance.objects.create(process=uuid4(), beat_at=timezone.now()),
    }
    assert staff.get(reverse(f"admin:chat_{model}_changelist")).status_code == 200
    page = staff.get(reverse(f"admin:chat_{model}_change", args=[rows[model].pk]))
    assert page.status_code == 200


def test_a_room_is_opened_for_an_owner(staff: Client, alice: User) -> None:
    url = reverse("admin:chat_conversation_add")
    answer = staff.post(url, {"kind": "group", "title": "Board", "creator": str(alice.pk)})

    assert answer.status_code == 302
    room = Conversation.objects.get(title="Board")
    assert Member.objects.get(conversation=room, user=alice).role == "owner"


def test_members_are_added_changed_and_removed_each_with_a_seq(
    staff: Client, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    seq = group.seq
    change(staff, group, **{"members-new-user": charlie.pk})
    assert Member.objects.filter(conversation=group, user=charlie, left_at=None).exists()
    assert group.seq == seq + 1

    members = list(Member.objects.filter(conversation=group, left_at=None).order_by("pk"))
    at = [member.user for member in members].index(bob)
    change(staff, group, **{f"members-{at}-role": "admin"})
    assert Member.objects.get(conversation=group, user=bob).role == "admin"
    assert group.seq == seq + 2

    change(staff, group, **{f"members-{at}-DELETE": "on"})
    removed = Member.objects.get(conversation=group, user=bob)
    assert removed.left_at is not None
    assert group.seq == removed.seq == seq + 3


def test_a_new_title_is_a_change_like_any_other(staff: Client, group: Conversation) -> None:
    seq = group.seq
    change(staff, group, title="Dinner")

    assert (group.title, group.seq, group.changed_seq) == ("Dinner", seq + 1, seq + 1)


def test_a_room_is_deleted(staff: Client, group: Conversation) -> None:
    url = reverse("admin:chat_conversation_delete", args=[group.pk])

    assert staff.post(url, {"post": "yes"}).status_code == 302
    assert not Conversation.objects.live().exists()
    listed = staff.get(reverse("admin:chat_conversation_changelist"))
    assert str(group.pk) not in listed.content.decode()


def test_messages_are_only_looked_at(staff: Client, alice: User, group: Conversation) -> None:
    said = send_message(user=alice, conversation_id=group.pk, client_id="1", content="hello")
    url = reverse("admin:chat_message_change", args=[said.message.pk])

    assert staff.post(url, {"content": "rewritten"}).status_code == 403
    said.message.refresh_from_db()
    assert said.message.content == "hello"


def test_it_is_closed_to_everyone_else(client: Client, alice: User, group: Conversation) -> None:
    client.force_login(alice)
    url = reverse("admin:chat_conversation_change", args=[group.pk])

    answer = client.get(url)
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]
