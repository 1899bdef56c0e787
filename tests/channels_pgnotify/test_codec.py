"""What travels inside a NOTIFY."""

import pytest

from channels_pgnotify import MessageTooLarge
from channels_pgnotify.codec import (
    BATCH,
    ENTRY_SIZE,
    FRAGMENT,
    HEADER_SIZE,
    MAX_MESSAGE_SIZE,
    RAW_LIMIT,
    TIP,
    Entry,
    Stream,
    _pack,
    check_size,
    decode,
    pg_channel_name,
)

# Postgres refuses a payload of 8,000 bytes.
PAYLOAD_LIMIT = 7_999


def kinds(payloads: list[bytes]) -> list[int]:
    return [decode(payload)[2] for payload in payloads]


@pytest.mark.parametrize("name", ["r", "r" * 99])
def test_no_payload_is_longer_than_postgres_takes(name: str) -> None:
    for size in (*range(5_700, 6_100), 12_000, 100_000):
        channels, payloads = Stream().encode([Entry("c", name, bytes(size))])
        assert len(channels) == len(payloads)
        assert max(map(len, payloads)) <= PAYLOAD_LIMIT
    _, payloads = Stream().encode(Entry("c", name, bytes(500)) for _ in range(50))
    assert max(map(len, payloads)) <= PAYLOAD_LIMIT


def test_what_just_fits_goes_together_and_what_does_not_goes_apart() -> None:
    room = RAW_LIMIT - HEADER_SIZE - ENTRY_SIZE - len("name")
    half = (room - ENTRY_SIZE - len("name")) // 2
    whole = room - half - ENTRY_SIZE - len("name")
    for sizes, expected in (
        ([room], [BATCH]),
        ([room + 1], [FRAGMENT, FRAGMENT]),
        ([half, whole], [BATCH]),
        ([half, whole + 1], [BATCH, BATCH]),
        ([1] * 100, [BATCH]),
    ):
        _, payloads = Stream().encode(Entry("c", "name", bytes(size)) for size in sizes)
        assert kinds(payloads) == expected


def test_order_is_kept_around_a_message_in_parts() -> None:
    bodies = [b"before", bytes(20_000), b"after", b"last"]
    _, payloads = Stream().encode(Entry("c", "name", body) for body in bodies)
    assert kinds(payloads) == [BATCH, FRAGMENT, FRAGMENT, FRAGMENT, FRAGMENT, BATCH]
    assert decode(payloads[0])[3:] == ["name", b"before"]
    parts = [decode(payload)[3:] for payload in payloads[1:-1]]
    assert [part[:3] for part in parts] == [["name", index, 4] for index in range(4)]
    assert b"".join(part[3] for part in parts) == bodies[1]
    assert decode(payloads[-1])[3:] == ["name", b"after", "name", b"last"]


def test_each_channel_of_a_stream_is_numbered_without_a_gap_from_one() -> None:
    stream = Stream()
    numbers: dict[str, list[int]] = {"a": [], "b": []}
    for channels in ("ab", "a", "bba"):
        for channel, payload in zip(
            *stream.encode(Entry(channel, "name", bytes(5_000)) for channel in channels),
            strict=True,
        ):
            numbers[channel].append(decode(payload)[1])
    assert numbers == {"a": [1, 2, 3], "b": [1, 2, 3]}


def test_tip_repeats_where_a_stream_stands_on_the_channels_it_has_used() -> None:
    stream = Stream()
    stream.encode([Entry("a", "name", b""), Entry("b", "name", bytes(10_000))])
    channels, payloads = stream.tips(["a", "never used", "b"])
    assert channels == ["a", "b"]
    assert [decode(payload) for payload in payloads] == [[stream.id, 1, TIP], [stream.id, 2, TIP]]


def test_two_streams_are_never_taken_for_one() -> None:
    assert len({Stream().id for _ in range(100)}) == 100


@pytest.mark.parametrize("items", ["text", 7, [], [1, 2], {"a": 1, "b": 2, "c": 3}])
def test_what_no_stream_made_is_refused(items: object) -> None:
    with pytest.raises(ValueError, match="envelope"):
        decode(_pack(items))  # type: ignore[arg-type]


def test_size_limit_is_the_last_size_that_is_taken() -> None:
    check_size(bytes(MAX_MESSAGE_SIZE))
    with pytest.raises(MessageTooLarge, match="1,052,673"):
        check_size(bytes(MAX_MESSAGE_SIZE + 1))


def test_limit_leaves_room_for_the_megabyte_that_channels_asks_for() -> None:
    assert MAX_MESSAGE_SIZE >= 2**20


def test_postgres_channel_name_is_short_and_another_for_other_parts() -> None:
    names = {
        pg_channel_name(*parts) for parts in (("a", "b"), ("ab",), ("a", "b", ""), ("é" * 99,))
    }
    assert len(names) == 4
    assert all(len(name) < 63 and name.isascii() and name == name.lower() for name in names)
