"""Edited messages: branches with an assistant, marked in place elsewhere."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import Assistant, Conversation, Message
from chat.replies.prompt import prompt_for
from chat.services.members import remove_member
from chat.services.messages import edit_message, send_message
from chat.services.replies import MAX_WAITING_REPLIES, Claim, Outcome, claim_reply, finish_reply
from chat.services.reply_actions import continue_reply, regenerate
from core.errors import Conflict

Api = Callable[..., APIClient]
pytestmark = pytest.mark.django_db


def say(user: User, chat: Conversation, text: str, **options: Any) -> tuple[Message, Message]:
    """Say something to the assistant; return the message and its pending reply."""
    sent = send_message(user=user, conversation_id=chat.pk, client_id=text, content=text, **options)
    assert sent.reply is not None
    return sent.message, sent.reply


def edit(client: APIClient, message: Message, content: str, client_id: str = "edit") -> Any:
    """Patch a message."""
    return client.patch(
        f"/api/messages/{message.pk}/", {"client_id": client_id, "content": content}
    )


def answer(reply: Message, text: str, status: str = "complete") -> Message:
    """Let a worker write a reply."""
    claim = claim_reply(message_id=reply.pk, conversation_id=reply.conversation_id)
    assert claim is not None
    assert finish_reply(
        message_id=reply.pk,
        conversation_id=reply.conversation_id,
        attempt=claim.attempt,
        outcome=Outcome(status=status, content=text),
    )
    return Message.objects.get(pk=reply.pk)


def told(reply: Message) -> list[str]:
    """What its model is told, but for the system prompt."""
    prompt = prompt_for(Claim(reply, reply.conversation, 1))
    return [turn.content for turn in prompt.turns if turn.role != "system"]


def test_what_is_said_to_an_assistant_follows_the_newest_message(
    alice: User, chat: Conversation
) -> None:
    first, reply = say(alice, chat, "one")
    second, another = say(alice, chat, "two")
    assert first.parent_id is None
    assert (reply.parent_id, second.parent_id) == (first.pk, reply.pk)
    assert another.parent_id == second.pk


def test_who_looks_at_another_branch_says_where_their_message_belongs(
    alice: User, chat: Conversation
) -> None:
    _, first = say(alice, chat, "one")
    answer(first, "uno")
    _, second = say(alice, chat, "two")
    answer(second, "due")
    _, other = say(alice, chat, "three", parent=first.pk)
    assert told(other) == ["one", "uno", "three"]


def test_an_edited_message_is_a_branch_with_a_reply_of_its_own(
    api: Api, alice: User, chat: Conversation
) -> None:
    _, first = say(alice, chat, "one")
    answer(first, "uno")
    old, reply = say(alice, chat, "two")
    answer(reply, "due")
    later, _ = say(alice, chat, "three")

    made = edit(api(alice), old, "zwei")

    assert made.status_code == 201
    message, reply_state = made.json()["message"], made.json()["reply"]
    assert (message["content"], message["parent"]) == ("zwei", str(first.pk))
    assert message["id"] != str(old.pk)
    assert (reply_state["status"], reply_state["parent"]) == ("pending", message["id"])
    # What was said under the old wording is as it was.
    old.refresh_from_db()
    assert (old.content, old.edited_at) == ("two", None)
    assert Message.objects.filter(pk=later.pk, parent=reply).exists()
    assert told(Message.objects.get(pk=reply_state["id"])) == ["one", "uno", "zwei"]


def test_the_first_message_can_be_edited_too(api: Api, alice: User, chat: Conversation) -> None:
    first, reply = say(alice, chat, "one")
    answer(reply, "uno")
    made = edit(api(alice), first, "eins").json()
    assert made["message"]["parent"] is None
    assert told(Message.objects.get(pk=made["reply"]["id"])) == ["eins"]


def test_the_same_edit_twice_is_one_branch(api: Api, alice: User, chat: Conversation) -> None:
    message, _ = say(alice, chat, "one")
    first = edit(api(alice), message, "eins")
    seq = Conversation.objects.get(pk=chat.pk).seq
    again = edit(api(alice), message, "eins")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["message"]["id"] == first.json()["message"]["id"]
    assert again.json()["reply"]["id"] == first.json()["reply"]["id"]
    assert Conversation.objects.get(pk=chat.pk).seq == seq


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_branch(alice: User, chat: Conversation) -> None:
    message, _ = say(alice, chat, "one")

    def click(_: int) -> bool:
        try:
            return edit_message(
                user=alice, message_id=message.pk, client_id="click", content="eins"
            ).created
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(click, range(6)))
    assert made.count(True) == 1
    assert Message.objects.filter(conversation=chat, role="user").count() == 2
    assert Message.objects.filter(conversation=chat, role="assistant").count() == 2


def test_replies_to_the_old_wording_are_stopped_and_keep_their_text(
    api: Api, alice: User, chat: Conversation
) -> None:
    message, waiting = say(alice, chat, "one")
    edit(api(alice), message, "eins", "a")
    waiting.refresh_from_db()
    assert waiting.status == "cancelled"

    again, streaming = say(alice, chat, "two")
    claim_reply(message_id=streaming.pk, conversation_id=chat.pk)
    edit(api(alice), again, "zwei", "b")
    streaming.refresh_from_db()
    # Its worker ends it, and has its text.
    assert streaming.status == "streaming"
    assert streaming.stop_requested_at is not None


def test_an_edit_is_refused_where_too_many_replies_wait(
    api: Api, alice: User, chat: Conversation
) -> None:
    first, reply = say(alice, chat, "one")
    answer(reply, "uno")
    for number in range(MAX_WAITING_REPLIES):
        say(alice, chat, str(number))
    refused = edit(api(alice), first, "eins")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert not Message.objects.filter(content="eins").exists()


def test_a_reply_that_an_edit_stops_makes_room_for_the_one_it_asks_for(
    api: Api, alice: User, chat: Conversation
) -> None:
    for number in range(MAX_WAITING_REPLIES):
        message, reply = say(alice, chat, str(number))
    made = edit(api(alice), message, "eins")
    assert (made.status_code, made.json()["reply"]["status"]) == (201, "pending")
    reply.refresh_from_db()
    assert reply.status == "cancelled"


def test_in_a_group_a_message_is_edited_in_place_and_marked(
    api: Api, alice: User, bob: User, group: Conversation
) -> None:
    sent = send_message(user=bob, conversation_id=group.pk, client_id="one", content="one").message
    made = edit(api(bob), sent, "eins")
    assert made.status_code == 200
    state = made.json()["message"]
    assert (state["id"], state["content"]) == (str(sent.pk), "eins")
    assert state["edited_at"] is not None
    assert made.json()["reply"] is None
    assert state["seq"] == Conversation.objects.get(pk=group.pk).seq == sent.seq + 1
    # Again: nothing changes.
    assert edit(api(bob), sent, "eins").json()["message"] == state


def test_in_a_group_a_message_without_parent_quotes_nothing(
    alice: User, bob: User, group: Conversation
) -> None:
    for user in (alice, bob):
        sent = send_message(user=user, conversation_id=group.pk, client_id="one", content="hello")
        assert sent.message.parent_id is None


def test_only_its_author_edits_a_message(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation
) -> None:
    sent = send_message(user=bob, conversation_id=group.pk, client_id="one", content="one").message
    # Not even the owner puts words into others' mouths.
    assert edit(api(alice), sent, "eins").status_code == 403
    assert edit(api(charlie), sent, "eins").status_code == 404
    assert edit(api(), sent, "eins").status_code == 401
    sent.refresh_from_db()
    assert sent.content == "one"


def test_who_has_left_edits_nothing(api: Api, bob: User, group: Conversation) -> None:
    sent = send_message(user=bob, conversation_id=group.pk, client_id="one", content="one").message
    group.members.filter(user=bob).update(left_at=timezone.now())
    assert edit(api(bob), sent, "eins").status_code == 404


def test_replies_and_deleted_messages_are_not_edited(
    api: Api, alice: User, chat: Conversation
) -> None:
    message, reply = say(alice, chat, "one")
    assert edit(api(alice), reply, "eins").status_code == 400
    Message.objects.filter(pk=message.pk).update(deleted_at=timezone.now())
    assert edit(api(alice), message, "eins").status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": "eins"},
        {"client_id": "a"},
        {"client_id": "a", "content": " "},
        {"client_id": "a b", "content": "eins"},
        {"client_id": "a", "content": "eins", "author": "me"},
    ],
)
def test_a_malformed_edit_changes_nothing(
    api: Api, alice: User, chat: Conversation, body: dict[str, str]
) -> None:
    message, _ = say(alice, chat, "one")
    refused = api(alice).patch(f"/api/messages/{message.pk}/", body)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert Message.objects.filter(conversation=chat).count() == 2


def test_a_branch_is_made_where_the_assistant_is_switched_off_but_no_reply(
    api: Api, alice: User, chat: Conversation, assistant: Assistant
) -> None:
    message, _ = say(alice, chat, "one")
    Assistant.objects.update(is_active=False)
    made = edit(api(alice), message, "eins")
    assert (made.status_code, made.json()["reply"]) == (201, None)


def test_a_long_branch_is_read_only_as_far_as_it_fits(
    alice: User, chat: Conversation, assistant: Assistant
) -> None:
    last = None
    for number in range(130):
        last = Message.objects.create(
            conversation=chat,
            role="assistant" if number % 2 else "user",
            content=f"{number} " + "word " * 20,
            parent=last,
            created_seq=1000 + number,
            seq=1000 + number,
        )
    _, reply = say(alice, chat, "now", parent=last.pk if last else None)
    assistant.context_tokens = 100_000
    reply.author_assistant = assistant
    assert [text.split()[0] for text in told(reply)] == [*map(str, range(130)), "now"]
    assistant.context_tokens = 400
    seen = [text.split()[0] for text in told(reply)]
    assert seen[-2:] == ["129", "now"]
    assert len(seen) < 20


# --- Continue, as the edges see it -----------------------------------------------------------


def test_a_reply_that_was_cut_off_goes_on_in_its_place(
    api: Api, alice: User, chat: Conversation
) -> None:
    _, reply = say(alice, chat, "one")
    done = answer(reply, "uno, ", "interrupted")
    made = api(alice).post(f"/api/messages/{reply.pk}/continue/")
    assert made.status_code == 200
    state = made.json()["message"]
    assert (state["id"], state["status"], state["content"]) == (str(reply.pk), "pending", "uno, ")
    assert state["attempt"] > done.attempt
    # Two clicks are one run.
    assert api(alice).post(f"/api/messages/{reply.pk}/continue/").json()["message"] == state
    assert told(Message.objects.get(pk=reply.pk))[:2] == ["one", "uno, "]


def test_a_reply_that_said_all_does_not_go_on(api: Api, alice: User, chat: Conversation) -> None:
    message, reply = say(alice, chat, "one")
    answer(reply, "uno")
    url = f"/api/messages/{reply.pk}/continue/"
    assert (api(alice).post(url).status_code, api(alice).post(url).json()["code"]) == (
        409,
        "conflict",
    )
    assert api(alice).post(f"/api/messages/{message.pk}/continue/").status_code == 400
    Message.objects.filter(pk=reply.pk).update(finish_reason="length")
    assert api(alice).post(url).status_code == 200


def test_members_let_a_reply_go_on_and_strangers_do_not(
    api: Api, alice: User, bob: User, charlie: User, group: Conversation, assistant: Assistant
) -> None:
    group.members.create(assistant=assistant)
    _, reply = say(alice, group, "one", assistant="assistant")
    answer(reply, "uno", "cancelled")
    url = f"/api/messages/{reply.pk}/continue/"
    assert api(charlie).post(url).status_code == 404
    assert api().post(url).status_code == 401
    assert api(bob).post(url).status_code == 200


def test_a_reply_whose_assistant_or_turn_is_gone_does_not_go_on(
    api: Api, alice: User, chat: Conversation
) -> None:
    message, reply = say(alice, chat, "one")
    answer(reply, "uno", "failed")
    url = f"/api/messages/{reply.pk}/continue/"
    Assistant.objects.update(is_active=False)
    assert api(alice).post(url).status_code == 409
    Assistant.objects.update(is_active=True)
    Message.objects.filter(pk=message.pk).update(deleted_at=timezone.now())
    assert api(alice).post(url).status_code == 409


def test_a_deleted_reply_is_neither_made_again_nor_continued(
    alice: User, chat: Conversation
) -> None:
    _, reply = say(alice, chat, "one")
    answer(reply, "uno", "failed")
    Message.objects.filter(pk=reply.pk).update(deleted_at=timezone.now())
    for ask in (regenerate, continue_reply):
        with pytest.raises(Conflict):
            ask(user=alice, message_id=reply.pk)


def test_a_reply_to_a_deleted_turn_is_not_made_again(alice: User, chat: Conversation) -> None:
    message, reply = say(alice, chat, "one")
    answer(reply, "uno")
    Message.objects.filter(pk=message.pk).update(deleted_at=timezone.now())
    with pytest.raises(Conflict):
        regenerate(user=alice, message_id=reply.pk)


def test_an_assistant_that_is_only_elsewhere_any_more_does_not_reply_again(
    alice: User, chat: Conversation, group: Conversation, assistant: Assistant
) -> None:
    member = group.members.create(assistant=assistant)
    _, reply = say(alice, group, "one", assistant="assistant")
    answer(reply, "uno", "failed")
    remove_member(user=alice, conversation_id=group.pk, member_id=member.pk)
    assert chat.members.filter(assistant=assistant, left_at=None).exists()
    for ask in (regenerate, continue_reply):
        with pytest.raises(Conflict):
            ask(user=alice, message_id=reply.pk)


def test_a_continued_reply_that_is_stopped_before_it_begins_keeps_its_text(
    api: Api, alice: User, chat: Conversation
) -> None:
    _, reply = say(alice, chat, "one")
    answer(reply, "uno", "failed")
    api(alice).post(f"/api/messages/{reply.pk}/continue/")
    state = api(alice).post(f"/api/messages/{reply.pk}/stop/").json()["message"]
    assert (state["status"], state["content"], state["error_code"]) == ("cancelled", "uno", "")
    # And may go on again: the stop was for the run before.
    api(alice).post(f"/api/messages/{reply.pk}/continue/")
    claim = claim_reply(message_id=reply.pk, conversation_id=chat.pk)
    assert claim is not None
    assert claim.message.content == "uno"


def test_a_worker_that_ends_a_reply_twice_does_not_end_what_was_continued_since(
    alice: User, chat: Conversation, api: Api
) -> None:
    """The answer to its commit was lost, so it commits again; someone was quicker."""
    _, reply = say(alice, chat, "one")
    claim = claim_reply(message_id=reply.pk, conversation_id=chat.pk)
    assert claim is not None
    end = {
        "message_id": reply.pk,
        "conversation_id": chat.pk,
        "attempt": claim.attempt,
        "outcome": Outcome(status="cancelled", content="uno"),
    }
    assert finish_reply(**end)
    api(alice).post(f"/api/messages/{reply.pk}/continue/")
    assert not finish_reply(**end)
    reply.refresh_from_db()
    assert (reply.status, reply.content) == ("pending", "uno")


def test_a_reply_may_be_continued_more_often_than_it_may_lose_workers(
    alice: User, chat: Conversation
) -> None:
    _, reply = say(alice, chat, "one")
    for number in range(12):
        answer(reply, "uno " * (number + 1), "interrupted")
        continue_reply(user=alice, message_id=reply.pk)
    for _ in range(5):
        assert claim_reply(message_id=reply.pk, conversation_id=chat.pk) is not None
    assert claim_reply(message_id=reply.pk, conversation_id=chat.pk) is None
    reply.refresh_from_db()
    assert (reply.status, reply.error_code) == ("failed", "worker_lost")
    assert reply.content == "uno " * 12


def test_too_many_waiting_replies_refuse_regenerate_and_continue(
    alice: User, chat: Conversation
) -> None:
    _, reply = say(alice, chat, "one")
    answer(reply, "uno", "failed")
    for number in range(MAX_WAITING_REPLIES):
        say(alice, chat, str(number))
    for ask in (regenerate, continue_reply):
        with pytest.raises(Conflict):
            ask(user=alice, message_id=reply.pk)


@pytest.mark.django_db(transaction=True)
def test_clicks_on_continue_at_once_are_one_run(alice: User, chat: Conversation) -> None:
    _, reply = say(alice, chat, "one")
    answer(reply, "uno", "interrupted")
    jobs = ProcrastinateJob.objects.filter(task_name="chat.stream_reply")
    before = jobs.count()

    def click(_: int) -> object:
        try:
            return continue_reply(user=alice, message_id=reply.pk).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        clicked = set(threads.map(click, range(6)))
    assert len(clicked) == 1
    assert jobs.count() == before + 1
