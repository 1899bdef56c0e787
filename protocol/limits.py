"""Limits and close codes of the socket."""

from enum import IntEnum
from typing import Final

PROTOCOL: Final = "chatire.v1"

# A handshake that is not done by then is given up.
HANDSHAKE_SECONDS: Final = 10
HEARTBEAT_SECONDS: Final = 25
HEARTBEAT_GRACE_SECONDS: Final = 10
# After a token expires, a client has this long to send `auth` before its socket closes.
TOKEN_GRACE_SECONDS: Final = 25
MAX_CONTENT: Final = 32_000  # characters in one message
# Any content must fit, however a client writes its JSON: at worst as two escapes of 6 bytes for
# each character. The rest is for everything else in a frame.
MAX_FRAME_BYTES: Final = 400 * 1024
MAX_MEMBERS: Final = 32  # of one JSON object; no frame or body has as many
MAX_TITLE: Final = 200
MAX_SUBSCRIPTIONS: Final = 200  # conversations one socket may follow at once
MAX_WAITING_COMMANDS: Final = 32  # commands one socket may have unanswered
MAX_WAITING_FRAMES: Final = 1000  # for a client that reads slowly; beyond: 4008
MAX_WAITING_BYTES: Final = 1_000_000  # the same, as they are encoded
STUCK_SECONDS: Final = 30.0  # without taking a byte while something waits; then 4008
FRAMES_PER_SECOND: Final = 50.0  # sustained, per socket
FRAMES_BURST: Final = 200
PAGE: Final = 50  # messages in a first load or a page of history
MAX_CHANGES: Final = 500  # changed rows in one answer to `since`
# Beyond so many people a first load has the managers only, and joins come as `members.changed`.
LARGE_ROOM: Final = 100
MAX_REACTIONS: Final = 20  # kinds under one message
# The kind of reaction that a vote is; no emoji is spelt like it.
VOTE: Final = "vote"
MAX_TAGS: Final = 5  # of one topic
FACES: Final = 5  # people named by each kind of reaction; the rest over REST
TYPING_SECONDS: Final = 6.0  # after which who said no more is not typing
TYPISTS: Final = 5  # people named by one `typing`; of the rest the count
MAX_MENTIONS: Final = 50  # in one message
MAX_NAMED: Final = 200  # people whom one message names, by their own names and groups'
MAX_COUNTED: Final = 100  # messages that name one, told of each conversation: the newest
MAX_WATCHED: Final = 200  # people whose presence one socket is told
PREVIEW: Final = 140  # characters of the newest message in a list
FIRST_ROOMS: Final = 50  # conversations in the first answer about one's own list
MAX_ROOMS: Final = 500  # and in each further one
MAX_CHANGES_TEXT: Final = 1_000_000  # characters of message text in one, but for a single message


class CloseCode(IntEnum):
    """Why the server closed a socket, and what its client does then."""

    why: str
    then: str

    def __new__(cls, value: int, why: str, then: str) -> "CloseCode":
        """Return a number that knows what it means."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.why = why
        code.then = then
        return code

    NOT_JSON = 1003, "a frame was not JSON, or was binary", "mend the client"
    TOO_BIG = 1009, f"a frame was over {MAX_FRAME_BYTES // 1024} KiB", "mend the client"
    INTERNAL = (
        1011,
        "a fault of the server, which has logged it",
        "reconnect, with backoff",
    )
    RESTARTING = (
        1012,
        "`restarting`, `unavailable` while the database is away, `busy` while too many come",
        "reconnect, after `after_ms` or with backoff",
    )
    AUTHENTICATE = (
        4001,
        "`token_missing`, `token_invalid`, `token_expired`, `session_revoked`, `user_inactive`",
        "refresh the token; if that fails, sign in",
    )
    NOT_ALLOWED = 4003, "`origin_not_allowed`, `invalid_parameters`", "do not retry"
    NO_CONVERSATION = 4004, "no such address, no such conversation, or not yours", "do not retry"
    TOO_SLOW = 4008, "you read too slowly", "reconnect and catch up; nothing is lost"
    NO_HEARTBEAT = 4012, "no sign of life from you", "reconnect"
    TOO_MANY_FRAMES = (
        4013,
        "too many frames; the reason says `retry_after=<seconds>`",
        "reconnect after that",
    )
