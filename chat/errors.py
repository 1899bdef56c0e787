"""What can be wrong with a request to a room, beyond `core.errors`."""

from core.errors import ChatireError
from protocol.errors import ErrorCode


class ReadOnly(ChatireError):
    """Nothing more is said in an archived conversation."""

    code = ErrorCode.READ_ONLY
    default_message = "This conversation is archived; it can only be read."
