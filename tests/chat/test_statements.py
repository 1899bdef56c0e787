"""How many statements stand between a message and the request to its model.

Each is a round trip that someone waits for, so they are bounded here by count. Those that open and
end a transaction count too; one per page of history is allowed, and no more.
"""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from chat import unread
from chat.models import Assistant, Conversation, Member, Message
from chat.replies.prompt import prompt_for
from chat.selectors.sync import changes_since, installation_epoch
from chat.services.conversations import create_conversation
from chat.services.replies import claim_reply

pytestmark = pytest.mark.django_db(transaction=True)

Api = Callable[..., APIClient]
# Who asks; BEGIN, the lock, what decides; message, reply, job, conversation, the author's mark;
# COMMIT; two notices.
OF_A_POST = 12
# BEGIN, the lock, the reply; reply, conversation; COMMIT; the notice.
OF_A_CLAIM = 7


@pytest.fixture(autouse=True)
def _no_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "_touch", lambda touch: None)


def posted(client: APIClient, conversation: Conversation, **body: object) -> tuple[Message, int]:
    """The reply to a message posted now, and the statements that took."""
    with CaptureQueriesContext(connection) as captured:
        answer = client.post(
            f"/api/conversations/{conversation.pk}/messages/",
            {"client_id": f"c{Message.objects.count()}", "content": "hello", **body},
        )
    assert answer.status_code == 201
    # The one that counted messages is ours.
    return Message.objects.get(pk=answer.json()["reply"]["id"]), len(captured) - 1


def prepared(reply: Message) -> tuple[int, int]:
    """The statements of claiming a reply, and of reading what its model is asked."""
    with CaptureQueriesContext(connection) as of_claim:
        claim = claim_reply(message_id=reply.pk, conversation_id=reply.conversation_id)
    assert claim is not None
    with CaptureQueriesContext(connection) as of_prompt:
        prompt_for(claim)
    return len(of_claim), len(of_prompt)


def talk(conversation: Conversation, speakers: list[User], messages: int) -> UUID:
    """Let people have said this much, each under the message before; return the last."""
    last: UUID | None = None
    for number in range(messages):
        conversation.refresh_from_db()
        seq = conversation.seq + 1
        last = Message.objects.create(
            conversation=conversation,
            author_user=speakers[number % len(speakers)],
            role=Message.Role.USER,
            content="so",
            parent_id=last,
            created_seq=seq,
            seq=seq,
        ).pk
        Conversation.objects.filter(pk=conversation.pk).update(seq=seq)
    assert last is not None
    return last


def test_a_message_to_an_assistant(api: Api, alice: User, chat: Conversation) -> None:
    client = api(alice)
    _, first = posted(client, chat)
    reply, later = posted(client, chat)
    _, following = posted(client, chat, parent=str(reply.pk), model="other", language="de")
    assert first == later == following <= OF_A_POST


def test_a_message_in_a_full_group_costs_what_it_costs_in_an_empty_one(
    api: Api, alice: User, bob: User, charlie: User, assistant: Assistant
) -> None:
    client = api(alice)
    counts = []
    for members in ([], [bob.pk, charlie.pk]):
        group = create_conversation(user=alice, kind="group", title="Tests", members=members)
        Member.objects.create(conversation=group, assistant=assistant)
        talk(group, [alice], 30 * len(members) + 1)
        counts.append(posted(client, group, assistant="assistant")[1])
    assert counts[0] == counts[1] <= OF_A_POST


def test_preparing_a_reply_of_an_assistants_conversation(
    api: Api, alice: User, chat: Conversation
) -> None:
    client = api(alice)
    first, _ = posted(client, chat)
    assert prepared(first) == (OF_A_CLAIM, 1)
    # Pages of 50 and 100 rows, and what was said now.
    last = talk(chat, [alice], 149)
    second, _ = posted(client, chat, parent=str(last))
    of_claim, of_prompt = prepared(second)
    assert of_claim == OF_A_CLAIM
    assert of_prompt <= 3


def test_preparing_a_reply_of_a_group_looks_each_name_up_once(
    api: Api, alice: User, bob: User, charlie: User, assistant: Assistant
) -> None:
    group = create_conversation(
        user=alice, kind="group", title="Tests", members=[bob.pk, charlie.pk]
    )
    Member.objects.create(conversation=group, assistant=assistant)
    talk(group, [alice, bob, charlie], 148)
    reply, _ = posted(api(alice), group, assistant="assistant")
    of_claim, of_prompt = prepared(reply)
    assert of_claim == OF_A_CLAIM
    # What it is told of; two pages, and people's names, all of which are on the first.
    assert of_prompt == 4


def test_a_first_load_costs_the_same_however_many_members_there_are(
    alice: User, bob: User, charlie: User, assistant: Assistant
) -> None:
    installation_epoch()  # makes its one row
    counts = []
    for members in ([], [bob.pk, charlie.pk]):
        group = create_conversation(user=alice, kind="group", title="Tests", members=members)
        Member.objects.create(conversation=group, assistant=assistant)
        with CaptureQueriesContext(connection) as queries:
            changes_since(user=alice, conversation_id=group.pk, since=None)
        counts.append(len(queries))
    assert counts[0] == counts[1]
