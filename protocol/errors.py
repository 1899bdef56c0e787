"""Every error code that can reach a client; the tables of docs/protocol.md are made of these."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The `code` of an error, over the socket and REST alike."""

    status: int | None
    meaning: str

    def __new__(cls, value: str, status: int | None, meaning: str) -> "ErrorCode":
        """Return a string that knows REST's status, None where REST has no such error."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.status = status
        code.meaning = meaning
        return code

    INVALID = "invalid", 400, "a value is missing or not acceptable; `details.fields` says which"
    PARSE_ERROR = "parse_error", 400, "REST: the body is not JSON"
    UNKNOWN_TYPE = "unknown_type", None, "no such command"
    INVALID_PARAMETERS = (
        "invalid_parameters",
        None,
        "of the socket's address; `details.fields` says which",
    )
    TOO_MANY_COMMANDS = "too_many_commands", None, "see [Limits](#limits)"
    TOO_MANY_SUBSCRIPTIONS = (
        "too_many_subscriptions",
        None,
        "see [Limits](#limits); `details.most` is how many there may be",
    )
    NOT_AUTHENTICATED = "not_authenticated", 401, "sign in first"
    TOKEN_MISSING = "token_missing", 401, "a socket came without a token"
    TOKEN_INVALID = "token_invalid", 401, "not a token of ours, or of another kind"
    TOKEN_EXPIRED = "token_expired", 401, "refresh it"
    SESSION_REVOKED = "session_revoked", 401, "signed out, here or elsewhere"
    USER_INACTIVE = "user_inactive", 401, "the account is deactivated"
    INVALID_CREDENTIALS = "invalid_credentials", 401, "wrong name or password"
    WRONG_PASSWORD = "wrong_password", 400, "the present password is another"
    RESET_LINK_INVALID = "reset_link_invalid", 400, "forged, used, superseded or too old"
    REGISTRATION_CLOSED = "registration_closed", 403, "switched off by the operator"
    GUESTS_NOT_ALLOWED = "guests_not_allowed", 403, "switched off by the operator"
    NOT_ALLOWED = "not_allowed", 403, "you may see it but not do this"
    BANNED = "banned", 403, "you were banned from this room"
    SILENCED = "silenced", 403, "you may say nothing here until `details.until`"
    INVITATION_INVALID = (
        "invitation_invalid",
        404,
        "unknown, revoked, expired, used up, or meant for another",
    )
    NOT_FOUND = "not_found", 404, "not there, or not for you to see"
    CONFLICT = "conflict", 409, "not in the present state"
    TOO_MANY_REACTIONS = (
        "too_many_reactions",
        409,
        "a message has as many kinds as it may; `details.most` is how many",
    )
    TOO_MANY_MENTIONS = (
        "too_many_mentions",
        409,
        "a message names as many as it may; `details.most` is how many",
    )
    REPLIES_USED_UP = (
        "replies_used_up",
        409,
        "no more replies may be asked for here today (UTC); `details.most` is how many",
    )
    READ_ONLY = "read_only", 409, "the conversation is archived"
    NOT_A_GUEST = "not_a_guest", 409, "there is an account already"
    IS_A_GUEST = "is_a_guest", 409, "guests have no password"
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "REST: not at this address"
    NOT_ACCEPTABLE = "not_acceptable", 406, "REST: answers are JSON, and `Accept` excludes that"
    TOO_LARGE = "too_large", 413, "REST: `details.limit` is in bytes"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "REST: bodies are JSON"
    SLOW_DOWN = (
        "slow_down",
        429,
        "slow mode: say the next thing after `details.retry_after` seconds",
    )
    THROTTLED = "throttled", 429, "try again after `details.retry_after` seconds"
    ERROR = "error", 500, "a fault of Chatire, which has logged it"
    UNAVAILABLE = "unavailable", 503, "the database is away for a moment; try again"


class ReplyError(StrEnum):
    """The `error_code` of a reply that failed."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "ReplyError":
        """Return a string that knows what it means."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    MODEL_TIMEOUT_CONNECT = "model_timeout_connect", "no connection in time"
    MODEL_TIMEOUT_FIRST_TOKEN = "model_timeout_first_token", "it did not begin in time"
    MODEL_TIMEOUT_IDLE = "model_timeout_idle", "it fell silent"
    MODEL_TIMEOUT_TOTAL = "model_timeout_total", "the whole took too long"
    MODEL_TIMEOUT = "model_timeout", "it took too long"
    MODEL_UNREACHABLE = "model_unreachable", "no connection"
    MODEL_CONNECTION_LOST = "model_connection_lost", "the connection broke"
    MODEL_UNAVAILABLE = "model_unavailable", "the provider is down or busy"
    MODEL_RATE_LIMITED = "model_rate_limited", "the provider had too many requests"
    MODEL_QUOTA_EXCEEDED = "model_quota_exceeded", "the account there has no credit"
    MODEL_AUTH = "model_auth", "the provider refuses this installation's key"
    MODEL_REJECTED = "model_rejected", "the provider refuses this request"
    MODEL_CONTEXT_EXCEEDED = "model_context_exceeded", "the history does not fit the model"
    MODEL_ERROR_IN_STREAM = "model_error_in_stream", "the provider broke off"
    MODEL_BAD_RESPONSE = "model_bad_response", "it answered nonsense"
    MODEL_ERROR = "model_error", "something else about the model"
    ASSISTANT_GONE = "assistant_gone", "the assistant was deleted"
    ASSISTANT_MISCONFIGURED = "assistant_misconfigured", "its parameters cannot be used"
    TURN_GONE = "turn_gone", "there is nothing to answer any more"
    WORKER_LOST = "worker_lost", "five workers in a row died on it"
    INTERNAL = "internal", "a fault of Chatire, which has logged it"
