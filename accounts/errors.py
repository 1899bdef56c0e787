"""What can go wrong with accounts, sessions and tokens, as clients see it."""

from core.errors import ChatireError, Conflict
from protocol.errors import ErrorCode


class NotSignedIn(ChatireError):
    """Whoever asks has not shown who they are. Every subclass answers 401."""

    code = ErrorCode.NOT_AUTHENTICATED
    default_message = "Sign in first."


class InvalidCredentials(NotSignedIn):
    """No active account has this name and password."""

    code = ErrorCode.INVALID_CREDENTIALS
    default_message = "No account has this name and password."


class TokenMissing(NotSignedIn):
    """A socket was opened without a token."""

    code = ErrorCode.TOKEN_MISSING
    default_message = "A token is needed."


class TokenInvalid(NotSignedIn):
    """The token is not one of ours, or not of the kind asked for."""

    code = ErrorCode.TOKEN_INVALID
    default_message = "The token is not valid."


class TokenExpired(NotSignedIn):
    """The token was good once."""

    code = ErrorCode.TOKEN_EXPIRED
    default_message = "The token has expired."


class SessionRevoked(NotSignedIn):
    """The token belongs to a session that was ended."""

    code = ErrorCode.SESSION_REVOKED
    default_message = "This session was ended. Sign in again."


class UserInactive(NotSignedIn):
    """The account was deactivated."""

    code = ErrorCode.USER_INACTIVE
    default_message = "This account is deactivated."


class RegistrationClosed(ChatireError):
    """This installation does not let people make accounts themselves."""

    code = ErrorCode.REGISTRATION_CLOSED
    default_message = "Registration is closed."


class GuestsNotAllowed(ChatireError):
    """This installation wants an account of everyone."""

    code = ErrorCode.GUESTS_NOT_ALLOWED
    default_message = "Guests are not allowed here."


class WrongPassword(ChatireError):
    """The present password, asked for once more, is another."""

    code = ErrorCode.WRONG_PASSWORD
    default_message = "That is not the present password."


class ResetLinkInvalid(ChatireError):
    """A password reset link is forged, used, superseded or too old."""

    code = ErrorCode.RESET_LINK_INVALID
    default_message = "This link is no longer valid. Ask for another."


class NotAGuest(Conflict):
    """Only a guest can claim an account."""

    code = ErrorCode.NOT_A_GUEST
    default_message = "You have an account already."


class IsAGuest(Conflict):
    """A guest has no password; claiming an account sets one."""

    code = ErrorCode.IS_A_GUEST
    default_message = "Guests have no password. Claim an account first."
