"""Setting, changing and resetting passwords."""

from uuid import UUID

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.mail import get_connection, send_mail
from django.db import transaction
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from accounts.errors import IsAGuest, ResetLinkInvalid, WrongPassword
from accounts.models import User
from accounts.selectors import user_by_login
from accounts.services.fields import invalid
from accounts.services.locks import locked, users_for_update
from accounts.services.sessions import revoke_all
from core.jobs import enqueue_named

PASSWORD_MAX_LENGTH = 128
# The task that calls `send_password_reset`.
RESET_MAIL_TASK = "accounts.send_password_reset"
# Seconds between two reset mails to one address, so that nobody can flood another's mailbox.
RESET_MAIL_INTERVAL = 60
# Seconds a mail server may take per network operation, unless EMAIL_TIMEOUT says otherwise.
MAIL_TIMEOUT = 10


def set_password(user: User, password: str, *, field: str) -> None:
    """Set the password of an unsaved or locked user.

    `field` names it in the Invalid that is raised for one that is too long or too weak.
    """
    if len(password) > PASSWORD_MAX_LENGTH:
        message = f"At most {PASSWORD_MAX_LENGTH} characters."
        raise invalid(field, ValidationError(message, code="max_length"))
    if "\0" in password:
        message = "Null characters are not allowed."
        raise invalid(field, ValidationError(message, code="null_characters_not_allowed"))
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise invalid(field, error) from None
    user.set_password(password)


@transaction.atomic
def change_password(
    *, user: User, current_password: str, new_password: str, session_id: UUID
) -> None:
    """Set another password and sign every other device out; `session_id` is the one that stays.

    Raises IsAGuest, WrongPassword or Invalid.
    """
    changed = locked(user)
    if changed.is_guest:
        raise IsAGuest
    if not changed.check_password(current_password):
        raise WrongPassword
    set_password(changed, new_password, field="new_password")
    changed.save(update_fields=["password"])
    revoke_all(user=changed, keep=session_id)


@transaction.atomic
def request_password_reset(*, email: str, site: str) -> None:
    """Have a reset link mailed to this address, if it has an account.

    `site` is the origin of the application, such as `https://chat.example.org`. A worker looks
    the account up, so that neither the answer nor its timing tells whether there is one.
    """
    address = User.objects.normalize_email(email.strip())
    enqueue_named(RESET_MAIL_TASK, email=address, site=site)


def send_password_reset(*, email: str, site: str) -> None:
    """Mail a reset link to this address, if an active account with a password has it."""
    user = user_by_login(email) if "@" in email else None
    if user is None or not user.is_active or not user.has_usable_password():
        return
    mailed = f"password-reset-mail:{user.pk}"
    if cache.get(mailed):
        return
    # In the fragment, which browsers send to no server and so appears in no log.
    link = (
        f"{site}/reset-password"
        f"#uid={urlsafe_base64_encode(force_bytes(user.pk))}"
        f"&token={default_token_generator.make_token(user)}"
    )
    send_mail(
        "Reset your password",
        # The user name only: a display name could carry a stranger's words to this mailbox.
        f"Choose a new password for the account {user.username} here:\n\n{link}\n\n"
        "If you did not ask for this, ignore it; your password stays as it is.\n",
        from_email=None,
        recipient_list=[user.email],
        connection=get_connection(timeout=settings.EMAIL_TIMEOUT or MAIL_TIMEOUT),
    )
    cache.set(mailed, True, timeout=RESET_MAIL_INTERVAL)


@transaction.atomic
def reset_password(*, uid: str, token: str, new_password: str) -> None:
    """Set a password by a mailed link, once, and sign every device out.

    Raises ResetLinkInvalid or Invalid.
    """
    user = users_for_update().active().with_accounts().filter(pk=_decoded(uid)).first()
    if user is None or not default_token_generator.check_token(user, token):
        raise ResetLinkInvalid
    set_password(user, new_password, field="new_password")
    user.save(update_fields=["password"])
    revoke_all(user=user)


def _decoded(uid: str) -> UUID:
    try:
        return UUID(urlsafe_base64_decode(uid).decode())
    except ValueError:
        raise ResetLinkInvalid from None
