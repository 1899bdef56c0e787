"""Every write to people, guests and their sessions."""

from accounts.services.passwords import (
    PASSWORD_MAX_LENGTH,
    RESET_MAIL_TASK,
    change_password,
    request_password_reset,
    reset_password,
    send_password_reset,
)
from accounts.services.people import (
    claim_guest,
    create_guest,
    deactivate_user,
    merge_guest,
    register,
    rename_user,
)
from accounts.services.sessions import (
    REFRESH_GRACE,
    Tokens,
    delete_expired_sessions,
    open_session,
    refresh,
    revoke_all,
    revoke_session,
    sign_in,
    sign_out,
    verify,
)

__all__ = [
    "PASSWORD_MAX_LENGTH",
    "REFRESH_GRACE",
    "RESET_MAIL_TASK",
    "Tokens",
    "change_password",
    "claim_guest",
    "create_guest",
    "deactivate_user",
    "delete_expired_sessions",
    "merge_guest",
    "open_session",
    "refresh",
    "register",
    "rename_user",
    "request_password_reset",
    "reset_password",
    "revoke_all",
    "revoke_session",
    "send_password_reset",
    "sign_in",
    "sign_out",
    "verify",
]
