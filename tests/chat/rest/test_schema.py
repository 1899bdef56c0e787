"""The API against its own OpenAPI document: whatever is sent, the answer is one it states."""

import base64
from collections.abc import Callable

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from accounts.models import User
from chat.models import Assistant, Conversation, Sanction
from chat.models.tokens import invitation_token
from chat.services.conversations import change_conversation, create_conversation
from chat.services.joining import create_invitation, request_to_join
from chat.services.messages import send_message
from chat.services.reports import report_message
from chatire.wsgi import application
from notifications.services import notify

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = schemathesis.openapi.from_wsgi(
    "/api/schema/?format=json", application, config=SchemathesisConfig()
)
OPERATIONS = {
    operation.definition.raw["operationId"]: operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
}
PROMISES = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    ]
)
EXAMPLES = 8  # of each operation; all of them together take some 20 seconds


@pytest.fixture
def known(
    alice: User, bob: User, charlie: User, chat: Conversation, group: Conversation
) -> dict[str, list[str]]:
    """Ids of things that alice may see, by the name of the path's parameter."""
    sent = send_message(user=alice, conversation_id=chat.pk, client_id="1", content="Hello")
    assert sent.reply is not None
    note = notify(recipient=alice, category="c", action="a", short_description="A note")
    room = create_conversation(user=alice, kind="group", title="Hall")
    change_conversation(user=alice, conversation_id=room.pk, access="listed")
    invitation = create_invitation(user=alice, conversation_id=room.pk)
    request = request_to_join(user=charlie, conversation_id=room.pk)
    reported = send_message(user=bob, conversation_id=group.pk, client_id="1", content="Buy")
    report, _ = report_message(user=alice, message_id=reported.message.pk, reason="spam")
    ban = Sanction.objects.create(conversation=room, user=charlie, by=alice, kind="ban")
    return {
        "invitation_id": [str(invitation.pk)],
        "token": [invitation_token(invitation)],
        "request_id": [str(request.pk)],
        "ban_id": [str(ban.pk)],
        "report_id": [str(report.pk)],
        "user_id": [str(alice.pk), str(bob.pk)],
        "conversation_id": [str(chat.pk), str(group.pk), str(room.pk)],
        "message_id": [str(sent.message.pk), str(sent.reply.pk)],
        "member_id": [str(member.pk) for member in group.members.all()],
        "notification_id": [str(note.pk)],
        "emoji": ["👍", ":party:"],
    }


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_whatever_is_sent_is_answered_as_stated(
    name: str, alice: User, known: dict[str, list[str]], token_for: Callable[[User], str]
) -> None:
    operation = OPERATIONS[name]
    headers = {"Authorization": f"Bearer {token_for(alice)}"}
    cases = operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(
        GenerationMode.NEGATIVE
    )
    answered: set[int] = set()

    @given(case=cases, data=st.data())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def try_out(case: schemathesis.Case, data: st.DataObject) -> None:
        # Random ids find nothing; mostly, ids of things that are there are wanted.
        for parameter in case.path_parameters or {}:
            if data.draw(st.integers(0, 3)):
                case.path_parameters[parameter] = data.draw(st.sampled_from(known[parameter]))
        response = case.call(headers=headers)
        case.validate_response(response, checks=PROMISES, headers=headers)
        answered.add(response.status_code)

    try_out()
    assert answered


def test_the_document_states_every_operation():
    assert len(OPERATIONS) > 25


def test_the_document_tells_the_limits_of_numbers_and_texts():
    history = OPERATIONS["messages_list"].definition.raw["parameters"]
    (before,) = [one["schema"] for one in history if one["name"] == "before"]
    assert before["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    title = SCHEMA.raw_schema["components"]["schemas"]["NewConversationRequest"]["properties"][
        "title"
    ]
    assert title["maxLength"] == 200


@pytest.mark.parametrize("path", ["assistants/", "conversations/", "conversations/{}/members/"])
@pytest.mark.parametrize("position", ["p=abc", "p=2020-01-01", "p=%00", "o=5&p=9999-99-99"])
def test_a_forged_cursor_finds_no_page(
    path: str, position: str, api: Callable[..., APIClient], alice: User, chat: Conversation
) -> None:
    cursor = base64.b64encode(position.encode()).decode()
    answer = api(alice).get(f"/api/{path.format(chat.pk)}", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_page_leads_to_the_next(
    api: Callable[..., APIClient], alice: User, assistant: Assistant
) -> None:
    made = {str(create_conversation(user=alice).pk) for _ in range(51)}
    first = api(alice).get("/api/conversations/").json()
    second = api(alice).get(first["next"]).json()
    assert {row["id"] for row in first["results"] + second["results"]} == made


def test_an_unknown_route_is_answered_in_the_one_shape(api: Callable[..., APIClient]) -> None:
    answer = api().get("/api/nothing/")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_a_fault_of_ours_is_answered_in_the_one_shape(
    api: Callable[..., APIClient], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.rest.conversations.active_assistants", lambda: 1 / 0)
    client = api(alice)
    client.raise_request_exception = False
    answer = client.get("/api/assistants/")
    assert answer.status_code == 500
    assert set(answer.json()) == {"code", "message", "details"}
    assert "division" not in answer.text
