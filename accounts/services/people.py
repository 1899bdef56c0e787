"""Making people and changing what they are."""

from django.conf import settings
from django.db import transaction

from accounts.errors import GuestsNotAllowed, IsAGuest, NotAGuest, RegistrationClosed
from accounts.models import User
from accounts.services.fields import check_fields, names_taken_refused
from accounts.services.locks import locked, users_for_update
from accounts.services.passwords import set_password
from accounts.services.sessions import revoke_all, verify
from accounts.signals import accounts_merging, guest_renaming, user_deactivated
from accounts.tokens import read_any_token


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
def merge_guest(*, account: User, guest_token: str) -> User:
    """Let what a guest did become `account`'s; return the guest, who can do nothing more.

    That takes a while. Asking twice is asking once. Raises IsAGuest if `account` is none,
    NotAGuest if the token is not a guest's, and what `verify` raises.
    """
    _, claims = read_any_token(guest_token)
    ids = sorted({claims.user_id, account.pk})
    people = {user.pk: user for user in users_for_update().filter(pk__in=ids).order_by("pk")}
    guest = people.get(claims.user_id)
    if people[account.pk].is_guest:
        raise IsAGuest("Sign in to an account to merge a guest into it.")
    if guest is not None and guest.merged_into_id == account.pk:
        return guest
    verify(token=guest_token)
    if guest is None or not guest.is_guest:
        raise NotAGuest
    guest.merged_into, guest.is_active = people[account.pk], False
    guest.save(update_fields=["merged_into", "is_active"])
    accounts_merging.send(User, guest_id=guest.pk)
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
