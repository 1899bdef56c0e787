"""Ways into a room: alice owns it, bob is a member, charlie a stranger, dora a guest."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework.throttling import ScopedRateThrottle

from accounts.models import User
from accounts.services import create_guest, deactivate_user, rename_user
from chat.errors import InvitationInvalid, TooManyLinks
from chat.models import Conversation, Invitation, Member
from chat.models.tokens import invitation_token
from chat.services.conversations import (
    archive_conversation,
    change_conversation,
    create_conversation,
)
from chat.services.joining import create_invitation, take_invitation
from chat.services.members import add_member, change_member, remove_member
from chat.services.staff import add_member_as_staff
from notifications.models import Notification

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dora(db: None) -> User:
    """Somebody without an account."""
    return create_guest(display_name="Dora")


def url(room: Conversation, path: str = "") -> str:
    """The address of a room, or of something in it."""
    return f"/api/conversations/{room.pk}/{path}"


def listed(room: Conversation, access: str = "listed") -> None:
    """Let a room be found."""
    change_conversation(
        user=room.members.get(role="owner").user, conversation_id=room.pk, access=access
    )


def invite(api: Api, user: User, room: Conversation, **body: Any) -> dict[str, Any]:
    """Make a link."""
    made = api(user).post(url(room, "invitations/"), body)
    assert made.status_code == 201, made.content
    return made.json()


def take(client: APIClient, link: dict[str, Any], **body: Any) -> tuple[int, dict[str, Any]]:
    """Take a link; return the status and the answer."""
    answer = client.post(f"/api/invitations/{link['token']}/", body)
    return answer.status_code, answer.json()


def is_in(user: User, room: Conversation) -> bool:
    """Say whether someone is a member now."""
    return Member.objects.present().filter(conversation=room, user=user).exists()


# --- The directory ---------------------------------------------------------------------------


@pytest.mark.parametrize(("access", "found"), [("open", 1), ("listed", 1), ("private", 0)])
def test_a_room_is_found_if_it_lets_itself_be(
    api: Api, charlie: User, group: Conversation, access: str, found: int
) -> None:
    listed(group, access)
    answer = api(charlie).get("/api/rooms/?q=UNC").json()
    assert len(answer["results"]) == found
    assert api(charlie).get("/api/rooms/?q=dinner").json()["results"] == []


def test_the_directory_says_where_one_is_and_has_asked(
    api: Api, bob: User, charlie: User, dora: User, group: Conversation
) -> None:
    listed(group)
    api(charlie).post(url(group, "requests/"), {})
    (seen,) = api(charlie).get("/api/rooms/").json()["results"]
    assert (seen["title"], seen["people"], seen["is_in"], seen["has_asked"]) == (
        "Lunch",
        2,
        False,
        True,
    )
    (seen,) = api(bob).get("/api/rooms/").json()["results"]
    assert (seen["is_in"], seen["has_asked"]) == (True, False)
    assert api(dora).get("/api/rooms/").json()["results"] == []


def test_an_archived_room_is_not_found(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    listed(group)
    archive_conversation(user=alice, conversation_id=group.pk)
    assert api(charlie).get("/api/rooms/").json()["results"] == []


@pytest.mark.parametrize(("access", "status"), [("open", 200), ("listed", 403), ("private", 404)])
def test_only_an_open_room_is_joined_unasked(
    api: Api, charlie: User, dora: User, group: Conversation, access: str, status: int
) -> None:
    listed(group, access)
    assert api(charlie).post(url(group, "join/")).status_code == status
    assert is_in(charlie, group) == (status == 200)
    assert api(dora).post(url(group, "join/")).status_code == 404


def test_joining_twice_is_joining_once(api: Api, charlie: User, group: Conversation) -> None:
    listed(group, "open")
    for _ in range(2):
        joined = api(charlie).post(url(group, "join/")).json()
        assert (joined["role"], joined["people"]) == ("member", 3)


# --- Asking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [True, False])
def test_who_asks_is_told_what_was_decided(
    api: Api, alice: User, charlie: User, group: Conversation, accept: bool
) -> None:
    listed(group)
    for _ in range(2):
        asked = api(charlie).post(url(group, "requests/"), {"text": "Let me in"})
        assert asked.status_code == 201
    assert Notification.objects.filter(recipient=alice, action="request.made").count() == 1
    (waiting,) = api(alice).get(url(group, "requests/")).json()["results"]
    assert (waiting["user"]["name"], waiting["text"]) == ("charlie", "Let me in")

    at = url(group, f"requests/{waiting['id']}/")
    assert api(alice).patch(at, {"accept": accept}).json()["accepted"] is accept
    assert api(alice).patch(at, {"accept": accept}).status_code == 409
    assert is_in(charlie, group) == accept
    action = "request.accepted" if accept else "request.declined"
    assert Notification.objects.filter(recipient=charlie, action=action).count() == 1


@pytest.mark.parametrize(("access", "status"), [("open", 409), ("listed", 201), ("private", 404)])
def test_one_asks_only_where_one_is_let_in(
    api: Api, bob: User, charlie: User, dora: User, group: Conversation, access: str, status: int
) -> None:
    listed(group, access)
    assert api(charlie).post(url(group, "requests/"), {}).status_code == status
    assert api(bob).post(url(group, "requests/"), {}).status_code == 409
    assert api(dora).post(url(group, "requests/"), {}).status_code == 404


# --- Links -----------------------------------------------------------------------------------


def test_a_link_shows_where_it_leads_and_leads_there(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    link = invite(api, alice, group, label="Poster")
    seen = api().get(f"/api/invitations/{link['token']}/").json()
    assert (seen["title"], seen["by"], seen["people"]) == ("Lunch", "alice", 2)

    status, answer = take(api(charlie), link)
    assert (status, answer["conversation"]["role"]) == (200, "member")
    member = group.members.get(user=charlie)
    assert (str(member.invitation_id), member.invited_by) == (link["id"], alice)


def test_who_is_in_already_uses_nothing_up(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    link = invite(api, alice, group, max_uses=1)
    assert take(api(bob), link)[0] == 200
    assert take(api(charlie), link)[0] == 200
    # Its answer was lost, say: nothing more is used, and nothing is refused.
    assert take(api(charlie), link)[0] == 200
    assert Invitation.objects.get().uses == 1


def _revoked(link: Invitation) -> None:
    Invitation.objects.update(revoked_at=timezone.now())


def _expired(link: Invitation) -> None:
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def _used_up(link: Invitation) -> None:
    Invitation.objects.update(max_uses=3, uses=3)


def _renewed(link: Invitation) -> None:
    Invitation.objects.update(version=2)


def _maker_left(link: Invitation) -> None:
    member = Member.objects.get(conversation=link.conversation, user=link.by)
    remove_member(user=link.by, conversation_id=link.conversation_id, member_id=member.pk)


def _maker_came_back(link: Invitation) -> None:
    _maker_left(link)
    owner = Member.objects.get(conversation=link.conversation, role="owner").user
    assert owner is not None
    add_member(user=owner, conversation_id=link.conversation_id, person=link.by.pk)


def _maker_is_a_guest_now(link: Invitation) -> None:
    Member.objects.filter(user=link.by).update(role="guest")


def _links_are_for_moderators(link: Invitation) -> None:
    Conversation.objects.update(policy={"invite": "moderator"})


def _maker_is_locked_out(link: Invitation) -> None:
    deactivate_user(user=link.by)


@pytest.mark.parametrize(
    "end",
    [
        _revoked,
        _expired,
        _used_up,
        _renewed,
        _maker_left,
        _maker_came_back,
        _maker_is_a_guest_now,
        _links_are_for_moderators,
        _maker_is_locked_out,
    ],
)
def test_a_link_that_ended_is_like_one_that_never_was(
    api: Api, bob: User, charlie: User, group: Conversation, end: Callable[[Invitation], None]
) -> None:
    link = create_invitation(user=bob, conversation_id=group.pk, guests=True)
    token = invitation_token(link)
    unknown = invitation_token(Invitation(pk=uuid4()))
    end(link)
    client, somebody = api(charlie), api()
    answers = [
        answer.json()
        for one in (token, unknown, "nonsense")
        for answer in (
            somebody.get(f"/api/invitations/{one}/"),
            client.post(f"/api/invitations/{one}/", {}),
            somebody.post(f"/api/invitations/{one}/", {"guest": {"name": "Dora"}}),
        )
    ]
    assert {answer["code"] for answer in answers} == {"invitation_invalid"}
    assert len({str(answer) for answer in answers}) == 1
    assert not is_in(charlie, group)
    assert not User.objects.filter(is_guest=True).exists()


def test_a_link_may_be_made_anew(api: Api, alice: User, charlie: User, group: Conversation) -> None:
    old = invite(api, alice, group)
    new = api(alice).patch(url(group, f"invitations/{old['id']}/"), {"renew": True}).json()
    assert take(api(charlie), old)[0] == 404
    assert take(api(charlie), new)[0] == 200


def test_a_link_for_one_address_is_for_nobody_else(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    other = invite(api, alice, group, email="eve@example.org")
    own = invite(api, alice, group, email="Charlie@example.org")
    assert take(api(charlie), other)[0] == 404
    assert take(api(charlie), own)[0] == 200


def test_a_link_with_approval_is_a_request(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    link = invite(api, alice, group, approval=True, max_uses=1)
    status, answer = take(api(charlie), link)
    assert (status, answer["conversation"]) == (200, None)
    assert not is_in(charlie, group)
    at = url(group, f"requests/{answer['request']['id']}/")
    assert api(alice).patch(at, {"accept": True}).status_code == 200
    assert str(group.members.get(user=charlie).invitation_id) == link["id"]
    assert Invitation.objects.get().uses == 1


def test_a_guest_comes_in_and_talks(api: Api, alice: User, group: Conversation) -> None:
    link = invite(api, alice, group, guests=True)
    assert take(api(), link)[0] == 401
    status, answer = take(api(), link, guest={"name": "Dora"})
    assert (status, answer["conversation"]["role"]) == (200, "guest")
    assert answer["tokens"]["user"]["is_guest"]
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer['tokens']['access']}")
    said = {"client_id": "1", "content": "hello"}
    assert client.post(url(group, "messages/"), said).status_code == 201
    assert client.post(url(group, "invitations/"), {}).status_code == 403


def test_a_link_for_people_with_accounts_lets_no_guest_in(
    api: Api, alice: User, dora: User, group: Conversation
) -> None:
    link = invite(api, alice, group)
    assert take(api(), link, guest={"name": "Eve"})[0] == 404
    assert take(api(dora), link)[0] == 404
    assert User.objects.filter(is_guest=True).count() == 1


@pytest.mark.parametrize(
    "name", ["alice", " ALICE ", "аliсе", "Álice", "ａｌｉｃｅ", "𝐀lice", "aIice", "ali\u200bce"]
)
def test_a_guest_takes_no_name_that_looks_like_a_members(
    api: Api, alice: User, group: Conversation, name: str
) -> None:
    link = invite(api, alice, group, guests=True)
    status, answer = take(api(), link, guest={"name": name})
    assert (status, answer["details"]["fields"][0]["field"]) == (400, "guest.name")
    assert not User.objects.filter(is_guest=True).exists()


def test_a_guest_with_a_members_name_is_called_otherwise(
    api: Api, alice: User, dora: User, group: Conversation
) -> None:
    rename_user(user=dora, display_name="Αlice")
    assert take(api(dora), invite(api, alice, group, guests=True))[0] == 200
    assert group.members.get(user=dora).nickname == "Αlice (guest)"


def test_a_guest_takes_a_members_name_by_no_other_way(
    api: Api, alice: User, dora: User, group: Conversation
) -> None:
    take(api(dora), invite(api, alice, group, guests=True))
    own = group.members.get(user=dora)
    answers = [
        api(dora).patch("/api/me/", {"display_name": "Alicе"}),
        api(dora).patch(url(group, f"members/{own.pk}/"), {"nickname": "A1ice"}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    for name in ("DORA", "Dorothy"):
        assert api(dora).patch("/api/me/", {"display_name": name}).status_code == 200
    assert api(dora).patch(url(group, f"members/{own.pk}/"), {"nickname": "Dot"}).status_code == 200


def test_a_member_sees_and_ends_their_own_links_only(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    others, own = invite(api, alice, group), invite(api, bob, group)
    ids = [row["id"] for row in api(bob).get(url(group, "invitations/")).json()["results"]]
    assert ids == [own["id"]]
    assert len(api(alice).get(url(group, "invitations/")).json()["results"]) == 2
    assert api(bob).delete(url(group, f"invitations/{others['id']}/")).status_code == 403
    assert api(bob).delete(url(group, f"invitations/{own['id']}/")).status_code == 204
    assert api(bob).get(url(group, "invitations/")).json()["results"] == []


def test_all_who_came_by_a_link_are_removed_together(
    api: Api, alice: User, bob: User, charlie: User, dora: User, group: Conversation
) -> None:
    link = invite(api, alice, group, guests=True)
    eve = User.objects.create_user("eve", "eve@example.org")
    for person in (charlie, dora, eve):
        assert take(api(person), link)[0] == 200
    risen = group.members.get(user=eve)
    change_member(user=alice, conversation_id=group.pk, member_id=risen.pk, role="owner")
    at = url(group, f"invitations/{link['id']}/members/")
    came = api(alice).get(at).json()["results"]
    assert [row["user"]["name"] for row in came] == ["charlie", "Dora", "eve"]

    assert api(alice).delete(at).json() == {"removed": 2}
    present = [is_in(person, group) for person in (alice, bob, charlie, dora, eve)]
    assert present == [True, True, False, False, True]
    assert take(api(charlie), link)[0] == 404


@pytest.mark.timeout(240)
def test_a_link_with_700_uses_lets_700_of_1000_in(alice: User, group: Conversation) -> None:
    link = create_invitation(user=alice, conversation_id=group.pk, max_uses=700)
    token = invitation_token(link)
    crowd = User.objects.bulk_create(
        User(username=f"person{number}", email=f"{number}@example.org") for number in range(1000)
    )

    def come(person: User) -> bool:
        try:
            return take_invitation(user=person, token=token).member is not None
        except InvitationInvalid:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(30) as pool:
        came = list(pool.map(come, crowd))
    assert came.count(True) == 700
    assert Invitation.objects.get().uses == 700
    assert Member.objects.present().filter(conversation=group).count() == 702
    assert Conversation.objects.get(pk=group.pk).people == 702


def test_nobody_makes_more_than_20_links_in_an_hour(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    Invitation.objects.bulk_create(Invitation(conversation=group, by=alice) for _ in range(19))
    invite(api, alice, group)
    refused = api(alice).post(url(group, "invitations/"), {})
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert 3590 < refused.json()["details"]["retry_after"] <= 3600
    invite(api, bob, group)
    hour_ago = timezone.now() - timedelta(hours=1)
    Invitation.objects.filter(by=alice).update(created_at=hour_ago)
    invite(api, alice, group)


def test_of_links_made_at_once_20_are_made(alice: User, bob: User, group: Conversation) -> None:
    rooms = [group, create_conversation(user=alice, kind="group", title="Dinner")]
    Invitation.objects.bulk_create(Invitation(conversation=group, by=alice) for _ in range(15))

    def make(number: int) -> bool:
        try:
            return bool(create_invitation(user=alice, conversation_id=rooms[number % 2].pk))
        except TooManyLinks:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(make, range(10)))
    assert made.count(True) == 5


def test_one_address_looks_at_no_more_links_than_it_may(
    api: Api, alice: User, group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"preview": "3/min", "guest": "30/min"}
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", rates)
    link = invite(api, alice, group, guests=True)
    looks = [api().get(f"/api/invitations/{link['token']}/").status_code for _ in range(4)]
    assert looks == [200, 200, 200, 429]
    assert take(api(), link, guest={"name": "Dora"})[0] == 200


def test_nobody_is_invited_to_a_conversation_with_an_assistant(
    api: Api, alice: User, chat: Conversation
) -> None:
    assert api(alice).post(url(chat, "invitations/"), {}).status_code == 400


# --- Bans ------------------------------------------------------------------------------------


@pytest.fixture
def banned(api: Api, alice: User, bob: User, group: Conversation) -> dict[str, Any]:
    """Bob's ban."""
    at = url(group, f"members/{group.members.get(user=bob).pk}/ban/")
    made = api(alice).post(at, {"reason": "Rude"})
    assert made.status_code == 201
    return made.json()  # type: ignore[no-any-return]


def test_who_is_banned_comes_in_by_no_way(
    api: Api, alice: User, bob: User, group: Conversation, banned: dict[str, Any]
) -> None:
    assert not is_in(bob, group)
    link = invite(api, alice, group)
    listed(group, "open")
    answers = [
        api(bob).post(url(group, "join/")),
        api(bob).post(f"/api/invitations/{link['token']}/", {}),
        api(alice).post(url(group, "members/"), {"user": str(bob.pk)}),
    ]
    listed(group)
    answers.append(api(bob).post(url(group, "requests/"), {}))
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(403, "banned")] * 4
    assert not is_in(bob, group)
    assert Invitation.objects.get().uses == 0


def test_a_ban_is_seen_and_lifted(
    api: Api, alice: User, bob: User, group: Conversation, banned: dict[str, Any]
) -> None:
    (seen,) = api(alice).get(url(group, "bans/")).json()["results"]
    assert (seen["user"]["name"], seen["reason"], seen["by"]["name"]) == ("bob", "Rude", "alice")
    at = url(group, f"bans/{banned['id']}/")
    assert api(alice).delete(at).status_code == 204
    assert api(alice).delete(at).status_code == 404
    assert api(alice).get(url(group, "bans/")).json()["results"] == []
    assert add_member(user=alice, conversation_id=group.pk, person=bob.pk).left_at is None


def test_a_ban_runs_out(api: Api, alice: User, bob: User, group: Conversation) -> None:
    at = url(group, f"members/{group.members.get(user=bob).pk}/ban/")
    until = timezone.now() - timedelta(seconds=1)
    assert api(alice).post(at, {"until": until.isoformat()}).status_code == 201
    assert add_member(user=alice, conversation_id=group.pk, person=bob.pk).left_at is None


def test_staff_who_add_somebody_lift_their_ban(
    bob: User, group: Conversation, banned: dict[str, Any]
) -> None:
    add_member_as_staff(conversation_id=group.pk, user=bob)
    assert is_in(bob, group)


def test_a_ban_ends_what_was_asked_before(
    api: Api, alice: User, charlie: User, group: Conversation
) -> None:
    listed(group)
    api(charlie).post(url(group, "requests/"), {})
    member = add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    api(alice).post(url(group, f"members/{member.pk}/ban/"), {})
    assert api(alice).get(url(group, "requests/")).json()["results"] == []
