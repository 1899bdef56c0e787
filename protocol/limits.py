"""Limits and close codes of the socket."""

from enum import IntEnum
from typing import Final

PROTOCOL: Final = "chatire.v1"

HEARTBEAT_SECONDS: Final = 25
HEARTBEAT_GRACE_SECONDS: Final = 10
# After a token expires, a client has this long to send `auth` before its socket closes.
TOKEN_GRACE_SECONDS: Final = 25
MAX_FRAME_BYTES: Final = 64 * 1024
MAX_CONTENT: Final = 32_000  # characters in one message
MAX_TITLE: Final = 200
MAX_SUBSCRIPTIONS: Final = 200  # conversations one socket may follow at once
MAX_WAITING_COMMANDS: Final = 32  # commands one socket may have unanswered
FRAMES_PER_SECOND: Final = 50.0  # sustained, per socket
FRAMES_BURST: Final = 200
PAGE: Final = 50  # messages in a first load or a page of history
MAX_CHANGES: Final = 500  # changed rows in one answer to `since`
MAX_CHANGES_TEXT: Final = 1_000_000  # characters of message text in one, but for a single message


class CloseCode(IntEnum):
    """Why the server closed a socket."""

    NOT_JSON = 1003
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTARTING = 1012
    AUTHENTICATE = 4001
    NOT_ALLOWED = 4003
    NO_CONVERSATION = 4004
    TOO_SLOW = 4008
    NO_HEARTBEAT = 4012
    TOO_MANY_FRAMES = 4013
