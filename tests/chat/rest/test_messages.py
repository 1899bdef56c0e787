"""Messages over REST."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Assistant, Conversation, Member, Message
from chat.services.conversations import create_conversation
from chat.services.messages import send_message
from chat.services.replies import MAX_WAITING_REPLIES, Outcome, claim_reply, finish_reply
from core import jobs, publishing
from protocol.limits import MAX_CONTENT

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db


def say(client: APIClient, conversation: Conversation, **body: object) -> dict[str, object]:
    """Post a message and return the answer's body with its status."""
    answer = client.post(
        f"/api/conversations/{conversation.pk}/messages/",
        {"client_id": "one", "content": "hello", **body},
    )
    return {"status": answer.status_code, **answer.json()}


def test_a_message_its_pending_reply_and_its_job_are_stored_together(
    api: Api, alice: User, chat: Conversation
) -> None:
    said = say(api(alice), chat)

    assert said["status"] == 201
    message, reply = said["message"], said["reply"]
    assert (message["content"], message["status"], message["client_id"]) == (
        "hello",
        "complete",
        "one",
    )
    assert (reply["status"], reply["parent"], reply["content"]) == ("pending", message["id"], "")
    assert reply["created_seq"] == message["created_seq"] + 1
    jobs = ProcrastinateJob.objects.filter(args__message_id=reply["id"])
    assert [job.task_name for job in jobs] == ["chat.stream_reply"]


@pytest.mark.parametrize("letter", ["a", "東", "🙂"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_longest_content_is_taken_however_its_json_is_written(
    api: Api, alice: User, group: Conversation, letter: str, ascii_only: bool
) -> None:
    path = f"/api/conversations/{group.pk}/messages/"
    for content, status in ((letter * MAX_CONTENT, 201), (letter * (MAX_CONTENT + 1), 400)):
        body = json.dumps({"client_id": "one", "content": content}, ensure_ascii=ascii_only)
        answer = api(alice).post(path, body, content_type="application/json")
        assert answer.status_code == status
    assert answer.json()["details"]["fields"][0]["field"] == "content"


def test_a_body_of_too_many_members_is_refused_without_naming_each(
    api: Api, alice: User, group: Conversation
) -> None:
    refused = say(api(alice), group, **{f"x{number}": 1 for number in range(31)})
    assert refused["status"] == 400
    assert [one["code"] for one in refused["details"]["fields"]] == ["too_many_members"]


def test_the_same_client_id_twice_is_one_message_and_one_reply(
    api: Api, alice: User, chat: Conversation
) -> None:
    first = say(api(alice), chat)
    seq = Conversation.objects.get(pk=chat.pk).seq
    again = say(api(alice), chat, content="something else")

    assert (first["status"], again["status"]) == (201, 200)
    assert again["message"]["id"] == first["message"]["id"]
    assert again["message"]["content"] == "hello"
    assert again["reply"]["id"] == first["reply"]["id"]
    assert Message.objects.count() == 2
    assert Conversation.objects.get(pk=chat.pk).seq == seq


@pytest.mark.django_db(transaction=True)
def test_the_same_client_id_from_ten_threads_at_once_is_one_message(
    api: Api, alice: User, chat: Conversation
) -> None:
    clients = [api(alice) for _ in range(10)]

    def post(client: APIClient) -> int:
        try:
            return int(str(say(client, chat)["status"]))
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(post, clients))

    assert statuses == [200] * 9 + [201]
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_seq_is_gapless_whoever_writes_at_once(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    start = group.seq
    clients = [(api(alice if n % 2 else bob), n) for n in range(20)]

    def post(item: tuple[APIClient, int]) -> None:
        client, number = item
        try:
            assert say(client, group, client_id=str(number))["status"] == 201
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(post, clients))

    places = Message.objects.order_by("created_seq").values_list("created_seq", flat=True)
    assert list(places) == list(range(start + 1, start + 21))


def test_the_same_client_id_of_two_people_is_two_messages(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    assert say(api(alice), group)["status"] == 201
    assert say(api(bob), group)["status"] == 201


@pytest.mark.parametrize(
    "body",
    [
        {"content": ""},
        {"content": " \n "},
        {"content": "x" * (MAX_CONTENT + 1)},
        {"content": "nul \x00 inside"},
        {"content": 7},
        {"client_id": ""},
        {"client_id": "x" * 65},
        {"client_id": "a b"},
        {"client_id": None},
        {"parent": "no-uuid"},
        {"parent": "00000000-0000-7000-8000-000000000000"},
        {"assistant": "nobody"},
        {"model": "not-offered"},
        {"author": "bob"},
        {"role": "system"},
    ],
)
def test_a_bad_message_is_refused_and_stores_nothing(
    api: Api, alice: User, chat: Conversation, body: dict[str, object]
) -> None:
    seq = Conversation.objects.get(pk=chat.pk).seq
    said = say(api(alice), chat, **body)

    assert (said["status"], said["code"]) == (400, "invalid")
    assert not Message.objects.exists()
    assert Conversation.objects.get(pk=chat.pk).seq == seq


def test_an_error_does_not_repeat_what_was_sent(api: Api, alice: User, chat: Conversation) -> None:
    said = say(api(alice), chat, content="secret words " * MAX_CONTENT)

    assert "secret" not in str(said)


def test_what_is_not_json_is_refused(api: Api, alice: User, chat: Conversation) -> None:
    answer = api(alice).post(
        f"/api/conversations/{chat.pk}/messages/", "{not json", content_type="application/json"
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


def test_a_parent_from_another_conversation_is_refused(
    api: Api, alice: User, chat: Conversation, group: Conversation
) -> None:
    elsewhere = say(api(alice), group)["message"]["id"]  # type: ignore[index]

    assert say(api(alice), chat, client_id="two", parent=elsewhere)["status"] == 400


def test_no_one_is_replied_to_in_a_group_unless_an_assistant_is_named(
    api: Api, alice: User, group: Conversation, assistant: Assistant
) -> None:
    Member.objects.create(conversation=group, assistant=assistant)

    assert say(api(alice), group)["reply"] is None
    assert say(api(alice), group, client_id="two", assistant="assistant")["reply"] is not None


def test_an_assistant_that_is_switched_off_is_not_asked(
    api: Api, alice: User, group: Conversation, assistant: Assistant
) -> None:
    Member.objects.create(conversation=group, assistant=assistant)
    Assistant.objects.update(is_active=False)

    said = say(api(alice), group, assistant="assistant")
    assert (said["status"], said["code"]) == (409, "conflict")
    assert not Message.objects.exists()


def test_an_assistant_that_was_removed_is_not_asked(
    api: Api, alice: User, chat: Conversation, group: Conversation, assistant: Assistant
) -> None:
    Member.objects.create(conversation=group, assistant=assistant)
    Member.objects.filter(assistant=assistant).update(left_at=timezone.now())

    named = say(api(alice), group, assistant="assistant")
    assert named["status"] == 400
    assert [one["field"] for one in named["details"]["fields"]] == ["assistant"]
    unnamed = say(api(alice), chat)
    assert (unnamed["status"], unnamed["reply"]) == (201, None)


def test_too_many_waiting_replies_are_refused(api: Api, alice: User, chat: Conversation) -> None:
    for number in range(MAX_WAITING_REPLIES):
        assert say(api(alice), chat, client_id=str(number))["status"] == 201

    said = say(api(alice), chat, client_id="one more")
    assert (said["status"], said["code"]) == (400, "invalid")
    said = say(api(alice), chat, client_id="one-more")
    assert (said["status"], said["code"]) == (409, "conflict")


def test_a_reply_that_is_being_written_still_waits(
    api: Api, alice: User, chat: Conversation
) -> None:
    for number in range(MAX_WAITING_REPLIES):
        reply = say(api(alice), chat, client_id=str(number))["reply"]
    assert claim_reply(message_id=reply["id"], conversation_id=chat.pk) is not None  # type: ignore[index]

    said = say(api(alice), chat, client_id="one-more")
    assert (said["status"], said["code"]) == (409, "conflict")


def test_a_reply_is_told_before_workers_hear_of_its_job(
    alice: User,
    chat: Conversation,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    """Else a worker could tell of a reply's beginning before its creation was told."""
    done: list[str] = []
    monkeypatch.setattr(publishing, "publish_now", lambda *_: done.append("told"))
    monkeypatch.setattr(jobs, "announce_jobs", lambda: done.append("announced"))

    with django_capture_on_commit_callbacks(execute=True):
        send_message(user=alice, conversation_id=chat.pk, client_id="1", content="hello")

    assert done == ["told", "announced"]


def test_history_pages_both_ways_by_place(api: Api, alice: User, bob: User) -> None:
    group = create_conversation(user=alice, kind="group", members=[bob.pk])
    client = api(alice)
    for number in range(12):
        say(client, group, client_id=str(number), content=str(number))
    url = f"/api/conversations/{group.pk}/messages/"

    newest = client.get(url, {"limit": 5}).json()
    assert [row["content"] for row in newest["results"]] == ["7", "8", "9", "10", "11"]
    assert (newest["more_before"], newest["more_after"]) == (True, False)

    older = client.get(url, {"limit": 5, "before": newest["results"][0]["created_seq"]}).json()
    assert [row["content"] for row in older["results"]] == ["2", "3", "4", "5", "6"]

    oldest = client.get(url, {"limit": 5, "before": older["results"][0]["created_seq"]}).json()
    assert [row["content"] for row in oldest["results"]] == ["0", "1"]
    assert oldest["more_before"] is False

    later = client.get(url, {"limit": 5, "after": older["results"][-1]["created_seq"]}).json()
    assert [row["content"] for row in later["results"]] == ["7", "8", "9", "10", "11"]
    assert later["more_after"] is False


@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "9" * 30, "١", "null", ""])
@pytest.mark.parametrize("name", ["before", "after", "limit"])
def test_a_bad_place_is_refused(
    api: Api, alice: User, chat: Conversation, name: str, value: str
) -> None:
    answer = api(alice).get(f"/api/conversations/{chat.pk}/messages/", {name: value})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_one_message_is_seen_by_members_only(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    said = say(api(alice), group)["message"]["id"]  # type: ignore[index]

    assert api(bob).get(f"/api/messages/{said}/").json()["content"] == "hello"
    for action in ("", "stop/", "regenerate/"):
        url = f"/api/messages/{said}/{action}"
        answer = api(charlie).post(url) if action else api(charlie).get(url)
        assert answer.status_code == 404


def test_an_authors_own_words_are_never_unread(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    say(api(alice), group)

    assert api(alice).get(f"/api/conversations/{group.pk}/").json()["mine"]["unread"] == 0
    assert api(bob).get(f"/api/conversations/{group.pk}/").json()["mine"]["unread"] == 1
    number = Conversation.objects.get(pk=group.pk).number
    api(bob).post(f"/api/conversations/{group.pk}/read/", {"number": number})
    assert api(bob).get(f"/api/conversations/{group.pk}/").json()["mine"]["unread"] == 0


def test_a_deleted_message_is_not_unread(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    say(api(alice), group, client_id="kept")
    gone = say(api(alice), group, client_id="gone")["message"]["id"]  # type: ignore[index]
    Message.objects.filter(pk=gone).update(deleted_at=timezone.now())

    assert api(bob).get(f"/api/conversations/{group.pk}/").json()["mine"]["unread"] == 1


def test_a_reply_is_unread_once_it_has_ended(api: Api, alice: User, chat: Conversation) -> None:
    url = f"/api/conversations/{chat.pk}/"
    reply = say(api(alice), chat)["reply"]["id"]  # type: ignore[index]
    assert api(alice).get(url).json()["mine"]["unread"] == 0
    claim = claim_reply(message_id=reply, conversation_id=chat.pk)
    assert claim is not None
    assert api(alice).get(url).json()["mine"]["unread"] == 0

    finish_reply(
        message_id=reply,
        conversation_id=chat.pk,
        attempt=claim.attempt,
        outcome=Outcome(status="complete", content="hi"),
    )
    assert api(alice).get(url).json()["mine"]["unread"] == 1


def test_a_message_that_is_marked_unread_is_so_with_all_after_it(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    said = [say(api(alice), group, client_id=str(number))["message"] for number in range(4)]
    ids = [message["id"] for message in said]  # type: ignore[index]
    api(bob).post(f"/api/conversations/{group.pk}/read/", {"number": 4})
    url = f"/api/conversations/{group.pk}/unread/"
    mine = api(bob).post(url, {"message": ids[1]}).json()["mine"]
    assert (mine["read"], mine["unread"]) == (1, 3)
    # What is unread already stays so, and of two devices the later wins.
    again = api(bob).post(url, {"message": ids[3]}).json()["mine"]
    assert again == mine
    later = api(bob).post(f"/api/conversations/{group.pk}/read/", {"number": 4}).json()["mine"]
    assert (later["read"], later["seq"] > mine["seq"]) == (4, True)
    assert api(charlie).post(url, {"message": ids[1]}).status_code == 404
    assert api().post(url, {"message": ids[1]}).status_code == 401


def test_only_what_can_be_read_is_marked_unread(
    api: Api, alice: User, bob: User, chat: Conversation, group: Conversation
) -> None:
    url = f"/api/conversations/{chat.pk}/unread/"
    said = say(api(alice), chat)
    pending = said["reply"]["id"]  # type: ignore[index]
    assert api(alice).post(url, {"message": pending}).status_code == 400
    elsewhere = say(api(bob), group)["message"]["id"]  # type: ignore[index]
    assert api(alice).post(url, {"message": elsewhere}).status_code == 404
    assert api(alice).post(url, {"message": str(chat.pk)}).status_code == 404
