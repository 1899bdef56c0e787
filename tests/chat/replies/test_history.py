"""What of a conversation a model is shown."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from chat.llm import estimate_tokens
from chat.models import Assistant, Conversation, Message
from chat.replies.past import past_messages
from chat.replies.prompt import prompt_for
from chat.services.replies import Claim


def say(user: User, chat: Conversation, text: str, **values: object) -> Message:
    """What someone said, or a reply: `values` are the message's own. It follows the newest."""
    seq = (Message.objects.filter(conversation=chat).count() + 1) * 1000
    author = {} if values.get("role") == "assistant" else {"author_user": user}
    fields = {"role": "user", "status": "complete", **author, **values}
    if chat.kind == Conversation.Kind.ASSISTANT:
        there = Message.objects.filter(conversation=chat)
        fields.setdefault("parent", there.order_by("-created_seq").first())
    return Message.objects.create(
        conversation=chat, content=text, created_seq=seq, seq=seq, **fields
    )


def told(reply: Message) -> list[str]:
    return [turn.content for turn in past_messages(reply, reply.conversation)]


def test_model_sees_what_was_said_up_to_its_turn(alice: User, chat: Conversation) -> None:
    first = say(alice, chat, "one")
    say(alice, chat, "two", role="assistant", parent=first)
    turn = say(alice, chat, "three")
    reply = say(alice, chat, "", role="assistant", parent=turn, status="pending")
    say(alice, chat, "later")
    assert told(reply) == ["three", "two", "one"]


def test_of_several_replies_to_a_turn_the_newest_that_spoke_is_seen(
    alice: User, chat: Conversation
) -> None:
    first = say(alice, chat, "one")
    say(alice, chat, "old", role="assistant", parent=first)
    say(alice, chat, "new", role="assistant", parent=first)
    say(alice, chat, "", role="assistant", parent=first, status="cancelled")
    say(alice, chat, "half", role="assistant", parent=first, status="failed")
    reply = say(alice, chat, "", role="assistant", parent=say(alice, chat, "two"))
    assert told(reply) == ["two", "new", "one"]


def test_deleted_messages_and_siblings_are_not_seen(alice: User, chat: Conversation) -> None:
    gone = say(alice, chat, "gone")
    Message.objects.filter(pk=gone.pk).update(deleted_at=gone.created_at)
    turn = say(alice, chat, "one")
    say(alice, chat, "sibling", role="assistant", parent=turn)
    reply = say(alice, chat, "", role="assistant", parent=turn, status="pending")
    assert told(reply) == ["one"]


def test_a_deleted_sibling_does_not_stand_for_a_reply_that_said_nothing(
    alice: User, chat: Conversation
) -> None:
    first = say(alice, chat, "one")
    say(alice, chat, "old", role="assistant", parent=first)
    gone = say(alice, chat, "gone", role="assistant", parent=first)
    Message.objects.filter(pk=gone.pk).update(deleted_at=gone.created_at)
    say(alice, chat, "", role="assistant", parent=first, status="cancelled")
    reply = say(alice, chat, "", role="assistant", parent=say(alice, chat, "two"))
    assert told(reply) == ["two", "old", "one"]


def test_in_a_group_deleted_messages_are_not_seen(alice: User, group: Conversation) -> None:
    gone = say(alice, group, "gone")
    Message.objects.filter(pk=gone.pk).update(deleted_at=gone.created_at)
    turn = say(alice, group, "one")
    reply = say(alice, group, "", role="assistant", parent=turn, status="pending")
    assert told(reply) == ["one"]


def test_long_history_is_read_only_as_far_as_it_is_taken(
    alice: User, chat: Conversation, django_assert_num_queries: object
) -> None:
    for number in range(120):
        say(alice, chat, str(number))
    turn = say(alice, chat, "now")
    reply = say(alice, chat, "", role="assistant", parent=turn)
    assert reply.parent == turn
    with django_assert_num_queries(1):  # type: ignore[operator]
        turns = past_messages(reply, reply.conversation)
        assert [next(turns).content for _ in range(3)] == ["now", "119", "118"]
    assert len(told(reply)) == 121


def test_language_is_the_replys_own_then_the_conversations_then_the_assistants(
    alice: User, chat: Conversation, assistant: Assistant
) -> None:
    turn = say(alice, chat, "hi")
    reply = say(alice, chat, "", role="assistant", parent=turn, author_assistant=assistant)
    assistant.language = chat.language = ""
    for owner, language in ((assistant, "German"), (chat, "Italian")):
        owner.language = language
        reply.language = ""
        system = prompt_for(Claim(reply, chat, 1)).turns[0]
        assert language in system.content
    reply.language = "French"
    assert "French" in prompt_for(Claim(reply, chat, 1)).turns[0].content


def test_prompt_leaves_room_for_the_reply(
    alice: User, chat: Conversation, assistant: Assistant
) -> None:
    for _ in range(30):
        say(alice, chat, "word " * 100)
    assistant.context_tokens, assistant.max_tokens = 1000, 400
    turn = say(alice, chat, "now")
    reply = say(alice, chat, "", role="assistant", parent=turn, author_assistant=assistant)
    prompt = prompt_for(Claim(reply, chat, 1))
    assert prompt.turns[-1].content.endswith("now")
    assert sum(estimate_tokens(turn.content) for turn in prompt.turns) <= 600


def test_authors_are_named_in_groups(alice: User, bob: User, group: Conversation) -> None:
    say(bob, group, "hi")
    turn = say(alice, group, "hello")
    reply = say(alice, group, "", role="assistant", parent=turn)
    assert [turn.author_name for turn in past_messages(reply, group)] == ["alice", "bob"]
    assert [turn.author for turn in past_messages(reply, group)] == [alice.pk, bob.pk]


@pytest.mark.parametrize("kind", ["assistant", "group"])
def test_a_long_history_is_found_by_its_index_and_not_by_looking_through_it(
    alice: User, chat: Conversation, group: Conversation, kind: str
) -> None:
    conversation = chat if kind == "assistant" else group
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chat_message (id, conversation_id, author_user_id, role, content,"
            " reasoning, refusal, tool_calls, status, model, language, attempt, earlier_attempts,"
            " usage_estimated, finish_reason, error_code, created_at, created_seq, seq, number,"
            " parent_id)"
            " SELECT md5(n::text)::uuid, %s, %s, 'user', 'said', '', '', '[]', 'complete', '', '',"
            " 0, 0, false, '', '', now(), n, n, n,"
            " CASE WHEN n > 1 THEN md5((n - 1)::text)::uuid END FROM generate_series(1, 20000) n",
            [conversation.pk, alice.pk],
        )
        cursor.execute("ANALYZE chat_message")
        last = Message.objects.get(conversation=conversation, created_seq=20000)
        reply = Message(conversation=conversation, parent=last, role="assistant", created_seq=20001)
        with CaptureQueriesContext(connection) as asked:
            turns = past_messages(reply, conversation)
            assert [next(turns).content for _ in range(60)] == ["said"] * 60
        read = [query["sql"] for query in asked.captured_queries if "chat_message" in query["sql"]]
        assert len(read) == 2
        for statement in read:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on chat_message" not in plan
            assert "Sort" not in plan or "depth" in plan
