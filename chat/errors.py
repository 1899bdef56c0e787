"""What can be wrong with a request to a room, beyond `core.errors`."""

from core.errors import ChatireError
from protocol.errors import ErrorCode


class ReadOnly(ChatireError):
    """Nothing more is said in an archived conversation."""

    code = ErrorCode.READ_ONLY
    default_message = "This conversation is archived; it can only be read."


class Banned(ChatireError):
    """This person may not come into this room, by any way."""

    code = ErrorCode.BANNED
    default_message = "Those who were banned from a room may not come back."


class Silenced(ChatireError):
    """This person may say nothing here, `until` then."""

    code = ErrorCode.SILENCED
    default_message = "A moderator has silenced you here for a while."


class SlowDown(ChatireError):
    """Slow mode: this person may say the next thing after `retry_after` seconds."""

    code = ErrorCode.SLOW_DOWN
    default_message = "This room is in slow mode. Wait a little before you say more."


class InvitationInvalid(ChatireError):
    """An invitation that nobody, or not this person, can take; why is not told."""

    code = ErrorCode.INVITATION_INVALID
    default_message = "This invitation is not valid, or not any more."


class TooManyMentions(ChatireError):
    """A message names more than it may."""

    code = ErrorCode.TOO_MANY_MENTIONS
    default_message = "This message names too many."


class TooManyLinks(ChatireError):
    """This person has made as many links within an hour as anyone may."""

    code = ErrorCode.THROTTLED
    default_message = "You have made many links in the last hour. Wait, or use one of them."


class RepliesUsedUp(ChatireError):
    """As many replies were asked for in a room today as its policy allows."""

    code = ErrorCode.REPLIES_USED_UP
    default_message = "This room's replies of today are used up."
