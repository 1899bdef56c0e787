"""A reply between its model and the flusher."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from chat.llm import Delta
from chat.replies import metrics
from chat.replies.active import MAX_PIECE, ActiveReply, Halt, Piece

DEADLINE = 10.0  # seconds


@pytest.fixture
def hurries() -> list[int]:
    """Has one item for each time a reply asked for a flush at once."""
    return []


def begun(hurries: list[int] | None = None, **values: Any) -> ActiveReply:
    """A reply of which nothing was read yet."""
    asked = hurries if hurries is not None else []
    return ActiveReply(
        message_id=uuid4(),
        conversation_id=uuid4(),
        attempt=1,
        hurry=lambda: asked.append(1),
        **values,
    )


def pieces(reply: ActiveReply) -> Iterator[Piece]:
    """All that waits, piece by piece."""
    while (piece := reply.take()) is not None:
        yield piece


def test_a_reply_knows_whose_it_is() -> None:
    message, conversation = uuid4(), uuid4()
    reply = ActiveReply(
        message_id=message, conversation_id=conversation, attempt=3, hurry=lambda: None
    )
    assert (reply.message_id, reply.conversation_id, reply.attempt) == (message, conversation, 3)


def test_a_reply_begins_with_nothing() -> None:
    reply = begun()
    assert not reply.has_more
    assert reply.take() is None
    assert (reply.content, reply.reasoning, reply.added) == ("", "", Delta("", ""))
    assert (reply.pieces_read, reply.next_index) == (0, 0)
    assert (reply.halt_reason, reply.reader, reply.drained) == (None, None, None)


def test_only_the_first_word_asks_for_a_flush_at_once(hurries: list[int]) -> None:
    reply = begun(hurries)
    assert hurries == []
    for _ in range(3):
        reply.add(Delta("word ", ""))
    assert hurries == [1]


def test_the_first_word_after_those_of_earlier_runs_asks_for_a_flush(hurries: list[int]) -> None:
    reply = begun(hurries, before=Delta("old ", ""))
    assert hurries == []
    reply.add(Delta("new", ""))
    assert hurries == [1]


def test_what_was_read_is_counted_in_characters_and_pieces() -> None:
    counted = metrics.TOKENS._value.get()
    reply = begun(before=Delta("what earlier runs said", "and thought"))
    reply.add(Delta("four", "two"))
    reply.add(Delta("", "5char"))
    assert reply.pieces_read == 2
    assert metrics.TOKENS._value.get() == counted + 2


def test_each_flush_takes_what_is_new_under_the_next_index() -> None:
    reply = begun()
    reply.add(Delta("To ", "h"))
    reply.add(Delta("be", "m"))
    assert reply.has_more
    assert reply.take() == Piece(0, "To be", "hm")
    assert not reply.has_more
    assert reply.take() is None
    reply.add(Delta(" or", ""))
    assert reply.take() == Piece(1, " or", "")
    reply.add(Delta("", "?"))
    assert reply.has_more
    assert reply.take() == Piece(2, "", "?")
    assert reply.next_index == 3


def test_a_delta_that_says_nothing_makes_no_piece() -> None:
    reply = begun()
    reply.add(Delta("", ""))
    assert not reply.has_more
    assert reply.take() is None


def test_all_that_was_taken_is_one_piece_under_the_last_index() -> None:
    reply = begun()
    reply.add(Delta("To ", "h"))
    reply.take()
    reply.add(Delta("be", "m"))
    reply.take()
    reply.add(Delta(" not yet taken", "nor this"))
    assert reply.taken() == Piece(1, "To be", "hm")


def test_a_reply_says_what_was_taken_and_what_still_waits() -> None:
    reply = begun()
    for text, reasoning in (("To ", "h"), ("be ", "m")):
        reply.add(Delta(text, reasoning))
        reply.take()
    for text, reasoning in (("or ", "!"), ("not", "?")):
        reply.add(Delta(text, reasoning))
    assert (reply.content, reply.reasoning) == ("To be or not", "hm!?")
    reply.take()
    assert (reply.content, reply.reasoning) == ("To be or not", "hm!?")


@pytest.mark.parametrize("delta", [Delta("text", ""), Delta("", "reasoning")])
def test_text_or_reasoning_alone_waits_to_be_flushed(delta: Delta) -> None:
    reply = begun()
    reply.add(delta)
    assert reply.has_more
    assert reply.take() == Piece(0, *delta)


def test_a_continued_reply_streams_from_the_beginning_and_adds_what_is_new() -> None:
    reply = begun(before=Delta("To be", "hm"))
    assert reply.has_more
    assert reply.added == Delta("", "")
    reply.add(Delta(" or", "!"))
    assert reply.take() == Piece(0, "To be or", "hm!")
    assert (reply.content, reply.reasoning) == ("To be or", "hm!")
    assert reply.added == Delta(" or", "!")


@pytest.mark.parametrize("before", [Delta("To be", ""), Delta("", "hm")])
def test_what_earlier_runs_left_out_is_not_waited_for(before: Delta) -> None:
    reply = begun(before=before)
    assert reply.take() == Piece(0, *before)
    assert not reply.has_more


@pytest.mark.parametrize(
    ("length", "lengths"),
    [
        (MAX_PIECE - 1, [MAX_PIECE - 1]),
        (MAX_PIECE, [MAX_PIECE]),
        (MAX_PIECE + 1, [MAX_PIECE, 1]),
        (2 * MAX_PIECE + 5, [MAX_PIECE, MAX_PIECE, 5]),
    ],
)
def test_a_long_piece_is_taken_in_parts_that_fit(length: int, lengths: list[int]) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(length))
    reply = begun()
    reply.add(Delta(text, text.upper()))
    taken = list(pieces(reply))
    assert [piece.position for piece in taken] == list(range(len(lengths)))
    assert [len(piece.text) for piece in taken] == lengths
    assert "".join(piece.text for piece in taken) == reply.content == text
    assert "".join(piece.reasoning for piece in taken) == reply.reasoning == text.upper()


def test_a_piece_fits_a_frame_of_a_megabyte_even_where_every_character_is_escaped() -> None:
    assert 2 * MAX_PIECE * len(r"\u0001") < 1_000_000


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def test_halting_breaks_off_the_reader_and_the_first_reason_counts() -> None:
    reply = begun()
    reply.reader = asyncio.create_task(_for_ever())
    reply.halt(Halt.STOPPED)
    reply.halt(Halt.SHUTDOWN)
    await asyncio.wait({reply.reader}, timeout=DEADLINE)
    assert reply.reader.cancelled()
    reply.halt(Halt.FENCED)
    assert reply.halt_reason is Halt.STOPPED


async def test_a_reply_that_is_not_read_yet_is_not_halted() -> None:
    reply = begun()
    reply.halt(Halt.STOPPED)
    assert reply.halt_reason is None


async def test_a_reply_that_was_read_to_its_end_is_not_halted() -> None:
    """Its end is about to be stored; it must not be taken for one that was broken off."""
    reply = begun()
    reply.reader = asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait_for(reply.reader, DEADLINE)
    reply.halt(Halt.FENCED)
    assert reply.halt_reason is None
