"""What can go wrong with accounts, sessions and tokens, as clients see it."""

from core.errors import ChatireError, Conflict


class NotSignedIn(ChatireError):
    """Whoever asks has not shown who they are. Every subclass answers 401."""

    code = "not_authenticated"
    status = 401
    default_message = "Sign in first."


class InvalidCredentials(NotSignedIn):
    """No active account has this name and password."""

    code = "invalid_credentials"
    default_message = "No account has this name and password."


class TokenMissing(NotSignedIn):
    """A socket was opened without a token."""

    code = "token_missing"
    default_message = "A token is needed."


class TokenInvalid(NotSignedIn):
    """The token is not one of ours, or not of the kind asked for."""

    code = "token_invalid"
    default_message = "The token is not valid."


class TokenExpired(NotSignedIn):
    """The token was good once."""

    code = "token_expired"
    default_message = "The token has expired."


class SessionRevoked(NotSignedIn):
    """The token belongs to a session that was ended."""

    code = "session_revoked"
    default_message = "This session was ended. Sign in again."


class UserInactive(NotSignedIn):
    """The account was deactivated."""

    code = "user_inactive"
    default_message = "This account is deactivated."


class RegistrationClosed(ChatireError):
    """This installation does not let people make accounts themselves."""

    code = "registration_closed"
    status = 403
    default_message = "Registration is closed."


class GuestsNotAllowed(ChatireError):
    """This installation wants an account of everyone."""

    code = "guests_not_allowed"
    status = 403
    default_message = "Guests are not allowed here."


class WrongPassword(ChatireError):
    """The present password, asked for once more, is another."""

    code = "wrong_password"
    status = 400
    default_message = "That is not the present password."


class ResetLinkInvalid(ChatireError):
    """A password reset link is forged, used, superseded or too old."""

    code = "reset_link_invalid"
    status = 400
    default_message = "This link is no longer valid. Ask for another."


class NotAGuest(Conflict):
    """Only a guest can claim an account."""

    code = "not_a_guest"
    default_message = "You have an account already."


class IsAGuest(Conflict):
    """A guest has no password; claiming an account sets one."""

    code = "is_a_guest"
    default_message = "Guests have no password. Claim an account first."
