"""Making people and changing what they are."""

from django.conf import settings
from django.db import transaction

from accounts.errors import GuestsNotAllowed, NotAGuest, RegistrationClosed
from accounts.models import User
from accounts.services.fields import check_fields, names_taken_refused
from accounts.services.locks import locked
from accounts.services.passwords import set_password
from accounts.services.sessions import revoke_all
from accounts.signals import guest_renaming, user_deactivated


@transaction.atomic
def register(*, username: str, password: str, email: str = "", display_name: str = "") -> User:
    """Make an account.

    Raises RegistrationClosed, or Invalid whose details list the fields and why.
    """
    if not settings.REGISTRATION_OPEN:
        raise RegistrationClosed
    user = User(display_name=display_name.strip())
    _make_account(user, username=username, password=password, email=email)
    return user


@transaction.atomic
def create_guest(*, display_name: str = "") -> User:
    """Make a person without an account. Raises GuestsNotAllowed or Invalid."""
    if not settings.GUESTS_ALLOWED:
        raise GuestsNotAllowed
    user = User(display_name=display_name.strip(), is_guest=True)
    user.username = f"guest-{user.id.hex}"
    user.set_unusable_password()
    check_fields(user)
    user.save(force_insert=True)
    return user


@transaction.atomic
def claim_guest(*, user: User, username: str, password: str, email: str = "") -> User:
    """Turn a guest into an account. They keep their id, so everything, and their sessions.

    Raises RegistrationClosed, NotAGuest or Invalid.
    """
    if not settings.REGISTRATION_OPEN:
        raise RegistrationClosed
    guest = locked(user)
    if not guest.is_guest:
        raise NotAGuest
    guest.is_guest = False
    _make_account(guest, username=username, password=password, email=email)
    return guest


@transaction.atomic
def rename_user(*, user: User, display_name: str) -> User:
    """Change what others see; empty goes back to the user name. Raises Invalid."""
    renamed = locked(user)
    renamed.display_name = display_name.strip()
    check_fields(renamed)
    if renamed.is_guest:
        guest_renaming.send(User, user=renamed)
    renamed.save(update_fields=["display_name"])
    return renamed


@transaction.atomic
def deactivate_user(*, user: User) -> None:
    """Lock a person out, on every device and at once. Their messages stay."""
    User.objects.filter(pk=user.pk).update(is_active=False)
    revoke_all(user=user)
    user_deactivated.send(User, user_id=user.pk)


def _make_account(user: User, *, username: str, password: str, email: str) -> None:
    user.username = User.normalize_username(username)
    user.email = User.objects.normalize_email(email.strip())
    check_fields(user)
    set_password(user, password, field="password")
    with names_taken_refused():
        user.save()
