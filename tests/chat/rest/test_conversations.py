"""Conversations over REST: alice owns, bob is a member, charlie is a stranger."""

from collections.abc import Callable

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import deactivate_user
from chat.models import Assistant, Conversation, Member, Message
from chat.services.members import add_member, remove_member
from core import publishing
from core.publishing import ROSTERS, Publication

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db


def test_opening_one_with_an_assistant_makes_its_opener_the_owner(
    api: Api, alice: User, assistant: Assistant
) -> None:
    answer = api(alice).post("/api/conversations/", {"assistant": "assistant"})

    assert answer.status_code == 201
    body = answer.json()
    assert (body["kind"], body["role"], body["mine"]["unread"]) == ("assistant", "owner", 0)
    members = Member.objects.filter(conversation=body["id"])
    assert {member.assistant or member.user for member in members} == {assistant, alice}


def test_the_first_active_assistant_is_taken_when_none_is_named(
    api: Api, alice: User, assistant: Assistant
) -> None:
    answer = api(alice).post("/api/conversations/", {})

    assert answer.status_code == 201
    assert Member.objects.filter(conversation=answer.json()["id"], assistant=assistant).exists()


def test_an_assistant_that_is_switched_off_is_neither_offered_nor_taken(
    api: Api, alice: User, assistant: Assistant
) -> None:
    Assistant.objects.update(is_active=False)
    other = Assistant.objects.create(slug="other", name="Other")

    listed = api(alice).get("/api/assistants/").json()["results"]
    assert [row["slug"] for row in listed] == ["other"]
    refused = api(alice).post("/api/conversations/", {"assistant": "assistant"})
    assert refused.status_code == 400
    assert [one["field"] for one in refused.json()["details"]["fields"]] == ["assistant"]
    opened = api(alice).post("/api/conversations/", {})
    assert Member.objects.filter(conversation=opened.json()["id"], assistant=other).exists()


def test_nobody_opens_a_group_with_a_deactivated_person(api: Api, alice: User, bob: User) -> None:
    deactivate_user(user=bob)

    answer = api(alice).post("/api/conversations/", {"kind": "group", "members": [str(bob.pk)]})

    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"]["fields"]] == ["members"]
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("model", ["other", "the-default"])
def test_a_model_that_the_assistant_offers_may_be_chosen(
    api: Api, alice: User, assistant: Assistant, settings: Settings, model: str
) -> None:
    settings.DEFAULT_MODEL = "the-default"

    answer = api(alice).post("/api/conversations/", {"model": model})

    assert (answer.status_code, answer.json()["model"]) == (201, model)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "party"}, "kind"),
        ({"assistant": "nobody"}, "assistant"),
        ({"model": "not-offered"}, "model"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"surprise": 1}, "surprise"),
        ({"kind": "group", "members": ["00000000-0000-7000-8000-000000000000"]}, "members"),
        ({"members": "everyone"}, "members"),
        ([], ""),
    ],
)
def test_bad_input_is_refused_naming_its_field(
    api: Api, alice: User, assistant: Assistant, body: object, field: str
) -> None:
    answer = api(alice).post("/api/conversations/", body)

    assert answer.status_code == 400
    error = answer.json()
    assert error["code"] == "invalid"
    assert error["details"]["fields"][0]["field"].split(".")[0] == field
    assert not Conversation.objects.exists()


def test_a_text_that_is_too_long_is_counted_in_characters(
    api: Api, alice: User, group: Conversation
) -> None:
    answer = api(alice).patch(f"/api/conversations/{group.pk}/", {"title": "x" * 201})
    (problem,) = answer.json()["details"]["fields"]
    assert problem["code"] == "string_too_long"
    assert "200 characters" in problem["message"]


def test_a_list_has_only_ones_own_newest_activity_first(
    api: Api, alice: User, bob: User, charlie: User, assistant: Assistant
) -> None:
    first = api(alice).post("/api/conversations/", {"title": "first"}).json()
    second = api(alice).post("/api/conversations/", {"title": "second"}).json()
    api(bob).post("/api/conversations/", {"title": "bob's"})

    listed = api(alice).get("/api/conversations/").json()["results"]
    assert [row["id"] for row in listed] == [second["id"], first["id"]]

    api(alice).post(
        f"/api/conversations/{first['id']}/messages/", {"client_id": "1", "content": "hello"}
    )
    listed = api(alice).get("/api/conversations/").json()["results"]
    assert [row["title"] for row in listed] == ["first", "second"]
    assert listed[0]["preview"] == "hello"
    assert api(charlie).get("/api/conversations/").json()["results"] == []


def test_a_deleted_message_is_no_preview(api: Api, alice: User, group: Conversation) -> None:
    url = f"/api/conversations/{group.pk}/messages/"
    for text in ("kept", "gone"):
        said = api(alice).post(url, {"client_id": text, "content": text}).json()
    Message.objects.filter(pk=said["message"]["id"]).update(deleted_at=timezone.now())

    (listed,) = api(alice).get("/api/conversations/").json()["results"]
    assert listed["preview"] == "kept"


def test_a_long_list_comes_in_pages(api: Api, alice: User, assistant: Assistant) -> None:
    for number in range(53):
        api(alice).post("/api/conversations/", {"title": str(number)})

    page = api(alice).get("/api/conversations/").json()
    rest = api(alice).get(page["next"]).json()

    titles = [row["title"] for row in page["results"] + rest["results"]]
    assert titles == [str(number) for number in reversed(range(53))]
    assert rest["next"] is None


@pytest.mark.parametrize("who", ["charlie", None])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "", None),
        ("patch", "", {"title": "mine"}),
        ("delete", "", None),
        ("get", "messages/", None),
        ("post", "messages/", {"client_id": "1", "content": "hi"}),
        ("get", "changes/", None),
        ("post", "read/", {"number": 1}),
        ("patch", "mine/", {"level": "none"}),
        ("get", "members/", None),
        ("post", "members/", {"user": "00000000-0000-7000-8000-000000000000"}),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_a_stranger_gets_404_and_someone_unknown_401(
    api: Api,
    group: Conversation,
    charlie: User,
    who: str | None,
    method: str,
    path: str,
    body: object,
) -> None:
    client = api(charlie if who else None)

    answer = getattr(client, method)(f"/api/conversations/{group.pk}/{path}", body)

    assert answer.status_code == (404 if who else 401)
    assert set(answer.json()) == {"code", "message", "details"}
    group.refresh_from_db()
    assert group.title == "Lunch"
    assert not Message.objects.exists()


def test_a_plain_member_may_see_but_not_rename_or_delete(
    api: Api, group: Conversation, bob: User
) -> None:
    assert api(bob).get(f"/api/conversations/{group.pk}/").json()["role"] == "member"
    for answer in (
        api(bob).patch(f"/api/conversations/{group.pk}/", {"title": "Dinner"}),
        api(bob).delete(f"/api/conversations/{group.pk}/"),
    ):
        assert answer.status_code == 403
        assert answer.json()["code"] == "not_allowed"


def test_renaming_takes_one_seq_and_renaming_to_the_same_none(
    api: Api, group: Conversation, alice: User
) -> None:
    before = group.seq
    for _ in range(2):
        answer = api(alice).patch(f"/api/conversations/{group.pk}/", {"title": "Dinner"})
        assert answer.json()["title"] == "Dinner"

    group.refresh_from_db()
    assert (group.seq, group.changed_seq) == (before + 1, before + 1)


def test_deleting_leaves_nothing(api: Api, group: Conversation, alice: User, bob: User) -> None:
    assert api(alice).delete(f"/api/conversations/{group.pk}/").status_code == 204

    # The empty row tells those who are away.
    assert not Conversation.objects.live().exists()
    assert Conversation.objects.get().title == ""
    assert not Member.objects.exists()
    assert api(bob).get(f"/api/conversations/{group.pk}/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_all_who_are_in_a_conversation_are_told_of_its_deletion_by_one_publication(
    api: Api,
    group: Conversation,
    alice: User,
    bob: User,
    charlie: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_member(user=alice, conversation_id=group.pk, person=charlie.pk)
    member = group.members.get(user=bob)
    remove_member(user=alice, conversation_id=group.pk, member_id=member.pk)
    told: list[Publication] = []
    monkeypatch.setattr(publishing, "publish_now", lambda *publications: told.extend(publications))

    assert api(alice).delete(f"/api/conversations/{group.pk}/").status_code == 204

    assert [(one.group, one.message["kind"]) for one in told] == [(ROSTERS, "conversation.deleted")]
