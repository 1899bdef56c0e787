"""Reads of people and their sessions."""

from django.db.models import Value
from django.db.models.functions import Lower

from accounts.errors import SessionRevoked, UserInactive
from accounts.models import Session, User
from accounts.tokens import Claims


def live_session(claims: Claims) -> Session:
    """Return the session a verified token belongs to, with its user, in one query.

    Raises SessionRevoked if it was ended (or never was), UserInactive if its user may no longer
    sign in.
    """
    session = (
        Session.objects.select_related("user")
        .filter(id=claims.session_id, user_id=claims.user_id)
        .first()
    )
    if session is None:
        raise SessionRevoked
    if not session.user.is_active:
        raise UserInactive
    if session.revoked_at is not None:
        raise SessionRevoked
    return session


def user_by_login(login: str) -> User | None:
    """Return whose user name, or if it has an "@" e-mail address, this is in any letter case.

    Guests have no login.
    """
    people = User.objects.filter(is_guest=False)
    if "@" in login:
        # The exclusion is the condition of the index.
        people = people.exclude(email="").alias(key=Lower("email"))
        return people.filter(key=Lower(Value(login.strip()))).first()
    username = User.normalize_username(login)
    return people.alias(key=Lower("username")).filter(key=Lower(Value(username))).first()
