"""Whoever is removed, signed out or expired hears no more."""

from datetime import timedelta
from uuid import UUID

import pytest
from channels.layers import get_channel_layer
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import Session, User
from accounts.services import revoke_session
from chat.models import Conversation, Member
from chat.services.conversations import (
    change_conversation,
    create_conversation,
)
from chat.services.members import remove_member
from chat.services.messages import send_message
from core.publishing import Publication, publish_now, user_group
from core.threads import in_thread
from protocol import limits
from tests.chat.socket.client import Socket, Token, key

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("layer_of_this_loop"),
]


async def test_a_removed_member_stops_receiving_at_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    member = await in_thread(Member.objects.get, conversation=group, user=bob)
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(remove_member, user=alice, conversation_id=group.pk, member_id=member.pk)
        left = await socket.until("member.left")
        assert left["member"]["user"]["id"] == str(bob.pk)
        await in_thread(
            send_message, user=alice, conversation_id=group.pk, client_id="1", content="secret"
        )
        await in_thread(change_conversation, user=alice, conversation_id=group.pk, title="New")
        await socket.command("ping")
        assert "message.created" not in [frame["type"] for frame in socket.seen]
        again = await socket.command("subscribe", conversation=key(group), since=0)
        assert again["code"] == "not_found"


async def test_who_is_removed_from_a_room_hears_no_more_of_what_is_inside_of_it(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    inside = Conversation(kind="thread", parent=group, access_id=group.pk)
    await in_thread(inside.save)
    member = await in_thread(Member.objects.get, conversation=group, user=bob)
    said = {"user": alice, "conversation_id": inside.pk}
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(inside))
        await in_thread(send_message, **said, client_id="1", content="heard")
        await socket.until("message.created")
        await in_thread(remove_member, user=alice, conversation_id=group.pk, member_id=member.pk)
        await socket.until("member.left")
        await in_thread(send_message, **said, client_id="2", content="secret")
        await socket.command("ping")
        assert "secret" not in str(socket.seen)


async def test_a_deactivation_lost_in_a_gap_is_found_out(alice: User, token_for: Token) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.until("hello")
        await in_thread(User.objects.filter(pk=alice.pk).update, is_active=False)
        await in_thread(publish_now, gap_of(alice))
        assert await socket.close_code() == (4001, "session_revoked")


def gap_of(user: User) -> Publication:
    """What the layer tells sockets that may have missed something."""
    return Publication(user_group(user.pk), {"type": "layer.gap"})


async def test_a_removal_that_was_lost_in_a_gap_takes_effect_after_it(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    other = await in_thread(lambda: create_conversation(user=alice, kind="group", members=[bob.pk]))
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await socket.command("subscribe", conversation=key(other))
        membership = Member.objects.filter(conversation=group, user=bob)
        await in_thread(lambda: membership.update(left_at=timezone.now()))
        await get_channel_layer().group_send(user_group(bob.pk), {"type": "layer.gap"})
        await socket.until("resync", conversation=None)
        for conversation in (group, other):
            await in_thread(
                send_message,
                user=alice,
                conversation_id=conversation.pk,
                client_id="1",
                content="hello",
            )
        heard = await socket.until("message.created")
        assert heard["conversation"] == key(other)


async def test_a_revocation_that_was_lost_in_a_gap_takes_effect_after_it(
    alice: User, token_for: Token
) -> None:
    token = AccessToken(await in_thread(token_for, alice))
    async with Socket(str(token)) as socket:
        await socket.until("hello")
        session = Session.objects.filter(pk=token["sid"])
        await in_thread(lambda: session.update(revoked_at=timezone.now()))
        await get_channel_layer().group_send(user_group(alice.pk), {"type": "layer.gap"})
        assert await socket.close_code() == (4001, "session_revoked")


async def test_an_expired_token_closes_4001_once_the_grace_is_over(
    alice: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKEN_GRACE_SECONDS", 0)
    token = AccessToken(await in_thread(token_for, alice))
    token.set_exp(lifetime=timedelta(seconds=3))
    async with Socket(str(token)) as socket:
        assert await socket.close_code() == (4001, "token_expired")
        assert socket.seen[0]["type"] == "hello"


async def test_auth_renews_the_token_in_place(
    alice: User, bob: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKEN_GRACE_SECONDS", 0)
    token = AccessToken(await in_thread(token_for, alice))
    token.set_exp(lifetime=timedelta(seconds=2))
    async with Socket(str(token)) as socket:
        await socket.until("hello")
        others = await socket.command("auth", token=await in_thread(token_for, bob))
        assert (others["type"], others["code"]) == ("error", "not_allowed")
        garbage = await socket.command("auth", token="garbage")
        assert (garbage["type"], garbage["code"]) == ("error", "token_invalid")
        fresh = AccessToken(await in_thread(token_for, alice))
        fresh.set_exp(lifetime=timedelta(seconds=3))
        ack = await socket.command("auth", token=str(fresh))
        assert ack["expires_at"] == fresh["exp"]
        # The first token has run out by the time the second one does.
        assert await socket.close_code() == (4001, "token_expired")


async def test_a_revoked_session_closes_its_sockets_and_no_others(
    alice: User, token_for: Token
) -> None:
    revoked = AccessToken(await in_thread(token_for, alice))
    kept = await in_thread(token_for, alice)
    async with Socket(str(revoked)) as first, Socket(kept) as second:
        await first.until("hello")
        await second.until("hello")
        await in_thread(revoke_by_id, alice, revoked["sid"])
        assert await first.close_code() == (4001, "session_revoked")
        assert (await second.command("ping"))["type"] == "pong"


def revoke_by_id(user: User, session_id: str) -> None:
    """Revoke one session."""
    revoke_session(session_id=UUID(session_id), user_id=user.pk)
