"""Who may do what, every cell: dora has each role in turn, in a room that alice owns."""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer
from rest_framework.test import APIClient

from accounts.models import User
from chat.change import changing
from chat.models import (
    Assistant,
    Conversation,
    Invitation,
    JoinRequest,
    Member,
    Message,
    Report,
    Sanction,
    Topic,
)
from chat.permissions import ACTIONS
from chat.services.conversations import create_conversation
from chat.services.members import new_member
from chat.services.messages import send_message
from chat.services.threads import reply_in_thread
from chat.services.topics import create_topic
from core.threads import in_thread
from tests.chat.socket.client import Socket

pytestmark = pytest.mark.django_db(transaction=True)

ROLES = ["owner", "admin", "moderator", "member", "guest"]


class Room(NamedTuple):
    """Where dora acts: what she and alice said, and who is there."""

    conversation: Conversation
    own: Message
    others: Message
    discussed: Message
    reply: Message
    bob: Member
    link: Invitation
    asked: JoinRequest
    ban: Sanction
    report: Report
    forum: Conversation
    topic: Topic

    @property
    def url(self) -> str:
        return f"/api/conversations/{self.conversation.pk}/"

    def member(self, **who: Any) -> str:
        return f"{self.url}members/{self.conversation.members.get(**who).pk}/"


@pytest.fixture
def dora(db: None) -> User:
    """Who acts."""
    return User.objects.create_user("dora", "dora@example.org", "correct-horse-battery")


@pytest.fixture
def room(alice: User, bob: User, dora: User, group: Conversation, assistant: Assistant) -> Room:
    """A room with everyone but charlie."""
    with changing(group.pk) as change:
        new_member(change=change, user=dora)
        new_member(change=change, assistant=assistant)

    def say(user: User, **options: Any) -> Any:
        return send_message(
            user=user, conversation_id=group.pk, client_id=uuid4().hex, content="hi", **options
        )

    asked = say(alice, assistant="assistant")
    Message.objects.filter(pk=asked.reply.pk).update(status="failed", number=None)
    own, others, discussed = say(dora).message, say(alice).message, say(alice).message
    reply_in_thread(user=alice, message_id=discussed.pk, client_id="1", content="first")
    link = Invitation.objects.create(conversation=group, by=alice)
    eve, finn = (User.objects.create_user(name, f"{name}@example.org") for name in ("eve", "finn"))
    request = JoinRequest.objects.create(conversation=group, user=finn)
    ban = Sanction.objects.create(conversation=group, user=eve)
    member = group.members.get(user=bob)
    report = Report.objects.create(
        conversation=group, room=group, message=say(bob).message, reporter=alice, reason="spam"
    )
    forum = create_conversation(user=alice, kind="forum", members=[dora.pk])
    begun = create_topic(user=alice, forum_id=forum.pk, client_id="1", title="Why?", content="So?")
    return Room(
        group,
        own,
        others,
        discussed,
        asked.reply,
        member,
        link,
        request,
        ban,
        report,
        forum,
        begun.topic,
    )


Act = Callable[[APIClient, Room, User], Any]

# What is asked, the action it is, and the least role that may.
CELLS: dict[str, tuple[str, str, Act]] = {
    "send": (
        "send",
        "guest",
        lambda api, room, _: api.post(
            f"{room.url}messages/", {"client_id": "1", "content": "hello"}
        ),
    ),
    "ask an assistant": (
        "ask",
        "member",
        lambda api, room, _: api.post(
            f"{room.url}messages/",
            {"client_id": "1", "content": "hello", "assistant": "assistant"},
        ),
    ),
    "name everyone": (
        "mention_all",
        "member",
        lambda api, room, _: api.post(
            f"{room.url}messages/", {"client_id": "1", "content": "@all"}
        ),
    ),
    "have a reply made again": (
        "ask",
        "member",
        lambda api, room, _: api.post(f"/api/messages/{room.reply.pk}/regenerate/"),
    ),
    "let a reply go on": (
        "ask",
        "member",
        lambda api, room, _: api.post(f"/api/messages/{room.reply.pk}/continue/"),
    ),
    "begin a thread": (
        "thread",
        "member",
        lambda api, room, _: api.post(
            f"/api/messages/{room.others.pk}/thread/", {"client_id": "1", "content": "hello"}
        ),
    ),
    "go on with a thread": (
        "send",
        "guest",
        lambda api, room, _: api.post(
            f"/api/messages/{room.discussed.pk}/thread/", {"client_id": "1", "content": "hello"}
        ),
    ),
    "edit one's own": (
        "edit_own",
        "guest",
        lambda api, room, _: api.patch(
            f"/api/messages/{room.own.pk}/", {"client_id": "1", "content": "hello"}
        ),
    ),
    "delete one's own": (
        "delete_own",
        "guest",
        lambda api, room, _: api.delete(f"/api/messages/{room.own.pk}/"),
    ),
    "delete others'": (
        "delete_others",
        "moderator",
        lambda api, room, _: api.delete(f"/api/messages/{room.others.pk}/"),
    ),
    "delete another's, saying why": (
        "delete_others",
        "moderator",
        lambda api, room, _: api.post(f"/api/messages/{room.others.pk}/removal/", {"reason": "x"}),
    ),
    "delete what a member said today": (
        "delete_others",
        "moderator",
        lambda api, room, _: api.post(f"{room.member(user=room.bob.user)}messages/removal/", {}),
    ),
    "pin": (
        "pin",
        "moderator",
        lambda api, room, _: api.put(f"/api/messages/{room.others.pk}/pin/"),
    ),
    "take a pin away": (
        "pin",
        "moderator",
        lambda api, room, _: api.delete(f"/api/messages/{room.others.pk}/pin/"),
    ),
    "see former wordings": (
        "revisions",
        "moderator",
        lambda api, room, _: api.get(f"/api/messages/{room.others.pk}/revisions/"),
    ),
    "report": (
        "report",
        "guest",
        lambda api, room, _: api.post(
            f"/api/messages/{room.others.pk}/report/", {"reason": "spam"}
        ),
    ),
    "see reports": ("reports", "moderator", lambda api, room, _: api.get(f"{room.url}reports/")),
    "resolve a report": (
        "reports",
        "moderator",
        lambda api, room, _: api.patch(
            f"{room.url}reports/{room.report.pk}/", {"resolution": "dismissed"}
        ),
    ),
    "silence a member": (
        "silence",
        "moderator",
        lambda api, room, _: api.put(
            f"{room.member(user=room.bob.user)}silence/", {"until": "2999-01-01T00:00:00Z"}
        ),
    ),
    "let a member speak again": (
        "silence",
        "moderator",
        lambda api, room, _: api.delete(f"{room.member(user=room.bob.user)}silence/"),
    ),
    "set slow mode": (
        "slow",
        "moderator",
        lambda api, room, _: api.patch(room.url, {"slow_seconds": 30}),
    ),
    "see the audit log": (
        "audit",
        "moderator",
        lambda api, room, _: api.get(f"{room.url}audit/"),
    ),
    "add someone": (
        "add",
        "member",
        lambda api, room, charlie: api.post(f"{room.url}members/", {"user": str(charlie.pk)}),
    ),
    "make a link": (
        "invite",
        "member",
        lambda api, room, _: api.post(f"{room.url}invitations/", {}),
    ),
    "see links": ("invite", "member", lambda api, room, _: api.get(f"{room.url}invitations/")),
    "revoke another's link": (
        "invitations",
        "moderator",
        lambda api, room, _: api.delete(f"{room.url}invitations/{room.link.pk}/"),
    ),
    "change another's link": (
        "invitations",
        "moderator",
        lambda api, room, _: api.patch(f"{room.url}invitations/{room.link.pk}/", {"label": "x"}),
    ),
    "see who came by another's link": (
        "invitations",
        "moderator",
        lambda api, room, _: api.get(f"{room.url}invitations/{room.link.pk}/members/"),
    ),
    "remove who came by a link": (
        "remove",
        "moderator",
        lambda api, room, _: api.delete(f"{room.url}invitations/{room.link.pk}/members/"),
    ),
    "see who asks to come in": (
        "requests",
        "moderator",
        lambda api, room, _: api.get(f"{room.url}requests/"),
    ),
    "let someone in": (
        "requests",
        "moderator",
        lambda api, room, _: api.patch(f"{room.url}requests/{room.asked.pk}/", {"accept": True}),
    ),
    "ban a member": (
        "ban",
        "moderator",
        lambda api, room, _: api.post(f"{room.member(user=room.bob.user)}ban/", {}),
    ),
    "see who is banned": ("ban", "moderator", lambda api, room, _: api.get(f"{room.url}bans/")),
    "lift a ban": (
        "ban",
        "moderator",
        lambda api, room, _: api.delete(f"{room.url}bans/{room.ban.pk}/"),
    ),
    "remove a member": (
        "remove",
        "moderator",
        lambda api, room, _: api.delete(room.member(user=room.bob.user)),
    ),
    "say what an assistant hears": (
        "assistants",
        "admin",
        lambda api, room, _: api.patch(room.member(assistant__isnull=False), {"hears": "all"}),
    ),
    "remove an assistant": (
        "assistants",
        "admin",
        lambda api, room, _: api.delete(room.member(assistant__isnull=False)),
    ),
    "begin a topic": (
        "topic",
        "member",
        lambda api, room, _: api.post(
            f"/api/conversations/{room.forum.pk}/topics/",
            {"client_id": "1", "title": "How?", "content": "So?"},
        ),
    ),
    "vote": (
        "vote",
        "member",
        lambda api, room, _: api.put(f"/api/messages/{room.topic.first_message_id}/vote/"),
    ),
    "change another's topic": (
        "topics",
        "moderator",
        lambda api, room, _: api.patch(
            f"/api/conversations/{room.topic.pk}/topic/", {"solved": True}
        ),
    ),
    "delete another's topic": (
        "delete_others",
        "moderator",
        lambda api, room, _: api.delete(f"/api/conversations/{room.topic.pk}/"),
    ),
    "pin a topic": (
        "pin_topic",
        "moderator",
        lambda api, room, _: api.patch(
            f"/api/conversations/{room.topic.pk}/topic/", {"pinned": True}
        ),
    ),
    "rename": (
        "describe",
        "admin",
        lambda api, room, _: api.patch(room.url, {"title": "Dinner"}),
    ),
    "make a moderator": (
        "roles",
        "admin",
        lambda api, room, _: api.patch(room.member(user=room.bob.user), {"role": "moderator"}),
    ),
    "make an admin": (
        "roles",
        "owner",
        lambda api, room, _: api.patch(room.member(user=room.bob.user), {"role": "admin"}),
    ),
    "rename another": (
        "nicknames",
        "admin",
        lambda api, room, _: api.patch(room.member(user=room.bob.user), {"nickname": "Bobby"}),
    ),
    "let it be found": (
        "govern",
        "admin",
        lambda api, room, _: api.patch(room.url, {"access": "open"}),
    ),
    "give others a right": (
        "govern",
        "admin",
        lambda api, room, _: api.patch(room.url, {"policy": {"add": "moderator"}}),
    ),
    "archive": ("archive", "admin", lambda api, room, _: api.post(f"{room.url}archive/")),
    "let it go on": ("archive", "admin", lambda api, room, _: api.post(f"{room.url}unarchive/")),
    "delete": ("delete", "owner", lambda api, room, _: api.delete(room.url)),
}


def become(person: User, room: Room, role: str) -> None:
    """Give someone a role, unasked."""
    there = [room.conversation, room.forum]
    Member.objects.filter(conversation__in=there, user=person).update(role=role)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("cell", CELLS)
def test_each_role_may_do_what_the_table_says_and_nothing_more(
    api: Callable[..., APIClient], room: Room, dora: User, charlie: User, cell: str, role: str
) -> None:
    action, least, act = CELLS[cell]
    become(dora, room, role)
    answer = act(api(dora), room, charlie)
    if ROLES.index(role) <= ROLES.index(least):
        assert answer.status_code < 300, answer.content
    else:
        assert answer.status_code == 403
        error = answer.json()
        assert error["code"] == "not_allowed"
        assert error["details"] == {"action": action, "needs": least}


@pytest.mark.parametrize("cell", CELLS)
def test_a_stranger_is_told_of_nothing(
    api: Callable[..., APIClient], room: Room, charlie: User, cell: str
) -> None:
    assert CELLS[cell][2](api(charlie), room, charlie).status_code == 404


def test_every_action_has_a_cell() -> None:
    assert set(ACTIONS) == {action for action, _, _ in CELLS.values()}


@pytest.mark.parametrize("role", ROLES)
async def test_a_socket_says_the_same(
    room: Room, dora: User, token_for: Callable[[User], str], role: str
) -> None:
    await in_thread(become, dora, room, role)
    said = {"content": "hello", "conversation": str(room.conversation.pk)}
    async with Socket(await in_thread(token_for, dora)) as socket:
        answers = {
            "guest": [
                await socket.command("message.send", client_id="1", **said),
                await socket.command(
                    "message.edit", message=str(room.own.pk), client_id="2", content="so"
                ),
                await socket.command("message.delete", message=str(room.own.pk)),
            ],
            "member": [
                await socket.command("message.send", client_id="3", assistant="assistant", **said),
                await socket.command("reply.continue", message=str(room.reply.pk)),
                await socket.command("reply.regenerate", message=str(room.reply.pk)),
                await socket.command(
                    "message.vote", message=str(room.topic.first_message_id), on=True
                ),
            ],
            "moderator": [await socket.command("message.delete", message=str(room.others.pk))],
        }
    for least, made in answers.items():
        allowed = ROLES.index(role) <= ROLES.index(least)
        assert {answer["type"] for answer in made} == {"ack" if allowed else "error"}
        for answer in made:
            assert allowed or answer["details"]["needs"] == least
    await get_channel_layer().close()


@pytest.mark.parametrize("role", ["moderator", "admin", "owner"])
def test_nobody_removes_their_equal_or_better(
    api: Callable[..., APIClient], room: Room, dora: User, bob: User, role: str
) -> None:
    become(dora, room, role)
    for other in ROLES[: ROLES.index(role) + 1]:
        become(bob, room, other)
        assert api(dora).delete(room.member(user=bob)).status_code == 403


def test_an_admin_takes_no_role_from_an_admin(
    api: Callable[..., APIClient], room: Room, dora: User, bob: User
) -> None:
    for person in (dora, bob):
        become(person, room, "admin")
    answer = api(dora).patch(room.member(user=bob), {"role": "member"})
    assert answer.json()["details"] == {"action": "roles", "needs": "owner"}


def test_a_conversations_policy_says_otherwise_where_it_may(
    api: Callable[..., APIClient], room: Room, dora: User
) -> None:
    policy = {"send": "admin", "describe": "guest", "delete": "guest"}
    Conversation.objects.filter(pk=room.conversation.pk).update(policy=policy)
    refused = api(dora).post(f"{room.url}messages/", {"client_id": "1", "content": "hello"})
    assert refused.json()["details"] == {"action": "send", "needs": "admin"}
    assert api(dora).patch(room.url, {"title": "Dinner"}).status_code == 200
    assert api(dora).delete(room.url).status_code == 403
