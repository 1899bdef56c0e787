"""The socket: who may follow what, commands and their answers, events and their order."""

import asyncio
from typing import Any

import pytest

from accounts.models import User
from chat.models import Assistant, Conversation, Member, Message
from chat.services.conversations import (
    change_conversation,
    create_conversation,
    delete_conversation,
)
from chat.services.members import add_member, change_member
from chat.services.messages import edit_message, send_message
from chat.services.replies import Outcome, claim_reply, finish_reply
from chat.socket import typists
from core.publishing import publish_now_async, to_conversation
from core.threads import in_thread
from protocol import limits
from protocol.events import ReplyDelta
from tests.chat.socket.client import DEADLINE, Socket, Token, key

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("layer_of_this_loop"),
]


async def test_hello_comes_first_and_says_what_a_client_must_know(
    alice: User, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        hello = await socket.next()

    assert hello["type"] == "hello"
    assert hello["protocol"] == "chatire.v1"
    assert hello["user"] == {"id": str(alice.pk), "name": "alice", "is_guest": False}
    assert hello["heartbeat"] == 25
    assert hello["limits"]["frame_bytes"] == limits.MAX_FRAME_BYTES
    assert hello["epoch"]


async def test_what_is_said_over_rest_arrives_once_at_every_member(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with (
        Socket(await in_thread(token_for, alice)) as first,
        Socket(await in_thread(token_for, bob)) as second,
    ):
        for socket in (first, second):
            await socket.command("subscribe", conversation=key(group))
        said = await in_thread(
            send_message,
            user=alice,
            conversation_id=group.pk,
            client_id="1",
            content="hello",
        )
        for socket in (first, second):
            event = await socket.until("message.created")
            assert event["message"]["content"] == "hello"
            assert event["seq"] == said.message.seq
            assert event["message"]["author"]["name"] == "alice"
            # Were it to come twice, it would come before the answer to a later command.
            await socket.command("ping")
            assert [f["type"] for f in socket.seen].count("message.created") == 1


async def test_an_event_is_the_same_bytes_for_every_socket_that_takes_whole_frames(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    written: asyncio.Queue[bytes] = asyncio.Queue()

    def write(frame: bytes) -> bool:
        written.put_nowait(frame)
        return True

    async def frames(containing: bytes) -> list[bytes]:
        found: list[bytes] = []
        async with asyncio.timeout(DEADLINE):
            while len(found) < 3:
                frame = await written.get()
                if containing in frame:
                    found.append(frame)
        return found

    path, extensions = f"/ws/conversations/{group.pk}/", {"chatire.write": write}
    tokens = [await in_thread(token_for, one) for one in (alice, bob, bob)]
    sockets = [Socket(token, path, extensions=extensions) for token in tokens]
    for socket in sockets:
        await socket.__aenter__()
    await frames(b'"id":"subscribe"')
    await in_thread(
        send_message, user=alice, conversation_id=group.pk, client_id="1", content="hello"
    )
    first, *others = await frames(b'"message.created"')
    assert all(other is first for other in others)
    for socket in sockets:
        await socket.__aexit__()


async def test_what_is_said_over_the_socket_is_stored_and_acknowledged(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, alice)) as socket:
        ack = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )
        again = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )

    assert ack["message"]["content"] == "hello"
    assert ack["reply"]["status"] == "pending"
    assert again["message"]["id"] == ack["message"]["id"]
    assert await in_thread(Message.objects.count) == 2


async def test_a_message_is_edited_and_its_branch_heard_by_another_device(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    async with Socket(token) as socket, Socket(token) as other:
        for each in (socket, other):
            await each.command("subscribe", conversation=key(chat))
        said = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )
        edit = {"message": said["message"]["id"], "client_id": "2", "content": "hallo"}
        ack = await socket.command("message.edit", **edit)
        again = await socket.command("message.edit", **edit)
        assert (ack["message"]["content"], ack["message"]["parent"]) == ("hallo", None)
        assert ack["reply"]["parent"] == ack["message"]["id"]
        assert (again["message"]["id"], again["reply"]["id"]) == (
            ack["message"]["id"],
            ack["reply"]["id"],
        )
        stopped = await other.until("message.updated")
        assert (stopped["message"]["id"], stopped["message"]["status"]) == (
            said["reply"]["id"],
            "cancelled",
        )
        heard = await other.until("message.created", seq=ack["reply"]["seq"])
        assert heard["message"] == ack["reply"]


async def test_a_reply_goes_on_from_another_device_after_a_reconnect(
    alice: User, chat: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    async with Socket(token) as socket:
        said = await socket.command(
            "message.send", conversation=key(chat), client_id="1", content="hello"
        )
        reply = said["reply"]["id"]
        stopped = await socket.command("reply.stop", message=reply)
        assert stopped["message"]["status"] == "cancelled"
    async with Socket(token) as other:
        first = await other.command("reply.continue", message=reply)
        second = await other.command("reply.continue", message=reply)
        assert first["message"]["status"] == "pending"
        assert second["message"] == first["message"]
        refused = await other.command("reply.continue", message=said["message"]["id"])
        assert (refused["type"], refused["code"]) == ("error", "invalid")


async def test_a_stranger_edits_stops_and_continues_nothing(
    alice: User, charlie: User, chat: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=alice, conversation_id=chat.pk, client_id="1", content="hello"
    )
    async with Socket(await in_thread(token_for, charlie)) as socket:
        for command, message, fields in (
            ("message.edit", sent.message, {"client_id": "2", "content": "hallo"}),
            ("reply.stop", sent.reply, {}),
            ("reply.regenerate", sent.reply, {}),
            ("reply.continue", sent.reply, {}),
        ):
            assert message is not None
            answer = await socket.command(command, message=str(message.pk), **fields)
            assert (answer["type"], answer["code"]) == ("error", "not_found")
    assert await in_thread(Message.objects.filter(content="hallo").count) == 0


async def test_a_stranger_is_told_nothing(
    charlie: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, charlie)) as socket:
        for command, fields in (
            ("subscribe", {}),
            ("message.send", {"client_id": "1", "content": "let me in"}),
            ("read", {"number": 1}),
            ("typing", {"active": True}),
        ):
            answer = await socket.command(command, conversation=key(group), **fields)
            assert (answer["type"], answer["code"]) == ("error", "not_found")
        await in_thread(change_conversation_by_owner, group)
        await socket.command("ping")
        assert "conversation.updated" not in [frame["type"] for frame in socket.seen]


def change_conversation_by_owner(group: Conversation) -> None:
    """Rename it as whoever made it."""
    assert group.creator is not None
    change_conversation(user=group.creator, conversation_id=group.pk, title="Other")


async def test_a_member_who_is_changed_is_told_so_and_goes_on_following(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    member = await in_thread(Member.objects.get, conversation=group, user=bob)
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(
            change_member,
            user=alice,
            conversation_id=group.pk,
            member_id=member.pk,
            nickname="Bobby",
        )
        told = await socket.until("member.updated")
        assert (told["member"]["nickname"], told["member"]["left_at"]) == ("Bobby", None)
        await in_thread(
            send_message, user=alice, conversation_id=group.pk, client_id="1", content="hello"
        )
        await socket.until("message.created")
        assert "member.left" not in [frame["type"] for frame in socket.seen]


async def test_a_deletion_is_answered_and_told_to_those_who_follow(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=bob, conversation_id=group.pk, client_id="1", content="secret"
    )
    tokens = [await in_thread(token_for, person) for person in (alice, bob)]
    async with Socket(tokens[0]) as watching, Socket(tokens[1]) as deleting:
        await watching.command("subscribe", conversation=key(group))
        answered = await deleting.command("message.delete", message=str(sent.message.pk))
        assert answered["type"] == "ack"
        assert answered["message"]["content"] == ""
        heard = await watching.until("message.updated")
        assert heard["message"] == answered["message"]


async def test_a_reaction_is_answered_and_then_counted_for_all_who_follow(
    alice: User, bob: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    sent = await in_thread(
        send_message, user=bob, conversation_id=group.pk, client_id="1", content="lunch"
    )
    mark = {"message": str(sent.message.pk), "emoji": "❤️", "on": True}
    tokens = [await in_thread(token_for, person) for person in (alice, bob, charlie)]
    async with Socket(tokens[0]) as one, Socket(tokens[1]) as two, Socket(tokens[2]) as stranger:
        await one.command("subscribe", conversation=key(group))
        counted = {"emoji": "❤", "count": 1, "users": [str(bob.pk)]}
        answered = await two.command("message.react", **mark)
        assert answered["tally"]["reactions"] == [counted]
        assert answered["tally"]["mine"] == ["❤"]
        heard = await one.until("tally.updated")
        assert [tally["reactions"] for tally in heard["tallies"]] == [[counted]]
        by = {"message": mark["message"], "user": str(bob.pk), "emojis": ["❤"]}
        assert heard["by"] == [by]
        await two.command("message.react", **mark)
        refused = await stranger.command("message.react", **mark)
        assert refused["code"] == "not_found"


async def test_being_added_shows_without_a_reload(
    alice: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, charlie)) as socket:
        await socket.until("hello")
        await in_thread(add_member, user=alice, conversation_id=group.pk, person=charlie.pk)
        told = await socket.until("mine.updated")
        assert [mine["conversation"] for mine in told["mine"]] == [key(group)]


async def test_lists_stay_live_without_subscribing(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.until("hello")
        for number in range(3):
            await in_thread(
                send_message,
                user=alice,
                conversation_id=group.pk,
                client_id=str(number),
                content=f"x{number}",
            )
        rooms: list[Any] = []
        while not rooms or rooms[-1]["number"] < 3:
            rooms += (await socket.until("rooms.touched"))["rooms"]
        assert (rooms[-1]["conversation"], rooms[-1]["preview"]) == (key(group), "x2")
        assert rooms[-1]["read"] is None
        answer = await socket.command("read", conversation=key(group), number=2)
        assert (answer["mine"]["read"], answer["mine"]["unread"]) == (2, 1)
        told = await socket.until("mine.updated")
        assert told["mine"] == [answer["mine"]]


async def test_what_one_writes_elsewhere_is_read_here(
    bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.until("hello")
        await in_thread(
            send_message, user=bob, conversation_id=group.pk, client_id="1", content="x"
        )
        (room,) = (await socket.until("rooms.touched"))["rooms"]
        assert (room["number"], room["read"]) == (1, 1)


async def test_a_deleted_conversation_is_announced_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    async with Socket(await in_thread(token_for, bob)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(delete_conversation, user=alice, conversation_id=group.pk)
        await socket.until("conversation.deleted")
        await socket.command("ping")
        assert [f["type"] for f in socket.seen].count("conversation.deleted") == 1


async def test_typing_reaches_those_who_follow_until_the_typists_socket_is_gone(
    alice: User,
    bob: User,
    group: Conversation,
    token_for: Token,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typists, "TYPING_SECONDS", 600)
    async with Socket(await in_thread(token_for, bob)) as second:
        await second.command("subscribe", conversation=key(group))
        async with Socket(await in_thread(token_for, alice)) as first:
            await first.command("subscribe", conversation=key(group))
            await first.command("typing", conversation=key(group))
            event = await second.until("typing")
            assert (event["users"], event["count"]) == ([str(alice.pk)], 1)
        gone = await second.until("typing", count=0)
        assert gone["users"] == []


async def test_typing_in_a_thread_reaches_those_who_only_read_it(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    thread = await in_thread(
        lambda: Conversation.objects.create(kind="thread", parent=group, access_id=group.pk)
    )
    async with (
        Socket(await in_thread(token_for, alice)) as first,
        Socket(await in_thread(token_for, bob)) as second,
    ):
        for socket in (first, second):
            await socket.command("subscribe", conversation=key(thread))
        await first.command("typing", conversation=key(thread))
        assert (await second.until("typing"))["users"] == [str(alice.pk)]
        await second.command("unsubscribe", conversation=key(thread))
        await first.command("typing", conversation=key(thread), active=False)
        await first.until("typing", count=0)
        await second.command("ping")
        assert not any(f["type"] == "typing" and f["count"] == 0 for f in second.seen)


async def test_a_silent_client_is_pinged_then_closed_4012(
    alice: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HEARTBEAT_GRACE_SECONDS", 0.2)
    async with Socket(await in_thread(token_for, alice)) as socket:
        await socket.until("ping")
        assert await socket.close_code() == (4012, "no_heartbeat")


async def test_any_frame_answers_the_heartbeat(
    alice: User, token_for: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HEARTBEAT_GRACE_SECONDS", 0.5)
    async with Socket(await in_thread(token_for, alice)) as socket:
        for _ in range(4):
            await socket.until("ping")
            await socket.send(type="pong")
        assert (await socket.command("ping"))["type"] == "pong"


async def test_fifty_sockets_connecting_at_once_hear_each_event_once(
    alice: User, bob: User, group: Conversation, token_for: Token
) -> None:
    token = await in_thread(token_for, alice)
    sockets = [Socket(token, f"/ws/conversations/{group.pk}/") for _ in range(50)]
    await asyncio.gather(*(socket.__aenter__() for socket in sockets))
    await asyncio.gather(*(socket.until("ack", id="subscribe") for socket in sockets))
    for number in range(5):
        await in_thread(
            send_message,
            user=bob,
            conversation_id=group.pk,
            client_id=str(number),
            content=str(number),
        )
    for socket in sockets:
        told = [(await socket.until("message.created"))["message"]["content"] for _ in range(5)]
        assert told == ["0", "1", "2", "3", "4"]
    await asyncio.gather(*(socket.command("ping") for socket in sockets))
    for socket in sockets:
        assert [f["type"] for f in socket.seen].count("message.created") == 5
    await asyncio.gather(*(socket.__aexit__() for socket in sockets))


async def test_who_reads_only_what_came_after_them_hears_nothing_of_older_messages(
    alice: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    def say(text: str) -> Message:
        return send_message(
            user=alice, conversation_id=group.pk, client_id=text, content=text
        ).message

    await in_thread(change_conversation, user=alice, conversation_id=group.pk, history="joined")
    before = await in_thread(say, "before")
    await in_thread(add_member, user=alice, conversation_id=group.pk, person=charlie.pk)
    async with Socket(await in_thread(token_for, charlie)) as socket:
        await socket.command("subscribe", conversation=key(group))
        await in_thread(edit_message, user=alice, message_id=before.pk, client_id="e", content="x")
        await in_thread(say, "after")
        heard = await socket.until("message.created")
    assert heard["message"]["content"] == "after"
    assert "message.updated" not in [frame["type"] for frame in socket.seen]


async def test_who_joins_in_the_middle_of_a_reply_hears_nothing_of_it(
    alice: User, charlie: User, assistant: Assistant, token_for: Token
) -> None:
    room = await in_thread(
        create_conversation, user=alice, kind="group", assistant="assistant", history="joined"
    )
    asked = await in_thread(
        send_message,
        user=alice,
        conversation_id=room.pk,
        client_id="1",
        content="hi",
        assistant="assistant",
    )
    claim = await in_thread(claim_reply, message_id=asked.reply.pk, conversation_id=room.pk)
    assert claim is not None
    place = claim.message.created_seq
    reply = {"conversation": room.pk, "message": claim.message.pk, "attempt": 1}
    await in_thread(add_member, user=alice, conversation_id=room.pk, person=charlie.pk)

    async with Socket(await in_thread(token_for, charlie)) as socket:
        await socket.command("subscribe", conversation=key(room))
        await publish_now_async(
            to_conversation(ReplyDelta(**reply, index=0, text="secret"), place=place)
        )
        ended = Outcome(status="complete", content="secret")
        await in_thread(
            finish_reply,
            message_id=claim.message.pk,
            conversation_id=room.pk,
            attempt=1,
            outcome=ended,
        )
        await in_thread(
            send_message, user=alice, conversation_id=room.pk, client_id="2", content="after"
        )
        await socket.until("message.created")
        await socket.until("rooms.touched")
        known = await socket.command("subscribe", conversation=key(room), since=0)
    assert "secret" not in str([*socket.seen, known])


async def test_a_history_that_is_hidden_is_hidden_from_those_who_are_there(
    alice: User, bob: User, charlie: User, group: Conversation, token_for: Token
) -> None:
    def say(user: User, text: str) -> Message:
        return send_message(
            user=user, conversation_id=group.pk, client_id=text, content=text
        ).message

    before = await in_thread(say, bob, "before")
    await in_thread(add_member, user=alice, conversation_id=group.pk, person=charlie.pk)
    async with Socket(await in_thread(token_for, charlie)) as socket:
        await socket.command("subscribe", conversation=key(group))
        for history, text in (("joined", "hidden"), ("all", "shown")):
            await in_thread(
                change_conversation, user=alice, conversation_id=group.pk, history=history
            )
            await in_thread(
                edit_message, user=bob, message_id=before.pk, client_id=text, content=text
            )
        await in_thread(say, alice, "after")
        await socket.until("message.created")
    told = [f["message"]["content"] for f in socket.seen if f["type"] == "message.updated"]
    assert told == ["shown"]
