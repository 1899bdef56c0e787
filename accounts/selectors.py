"""Reads of people and their sessions."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Value
from django.db.models.functions import Lower

from accounts.errors import SessionRevoked, UserInactive
from accounts.models import Session, User
from accounts.tokens import Claims
from core.columns import Columns

_SESSION = Columns(Session, "s")
_USER = Columns(User, "u")
# Every request asks this, and every socket with more.
SESSION_COLUMNS = f"{_SESSION}, {_USER}"
SESSION_TABLES = "accounts_session s JOIN accounts_user u ON u.id = s.user_id"
_SESSION_AND_USER = f"SELECT {SESSION_COLUMNS} FROM {SESSION_TABLES} WHERE s.id = %s"  # noqa: S608 - nothing but the names of columns


def live_session(claims: Claims) -> Session:
    """Return the session a verified token belongs to, with its user, in one query.

    Raises SessionRevoked if it was ended (or never was), UserInactive if its user may no longer
    sign in.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SESSION_AND_USER, [claims.session_id])
        row = cursor.fetchone()
    return session_of(claims, row)


def session_of(claims: Claims, row: Sequence[Any] | None) -> Session:
    """Return the session that SESSION_COLUMNS gave (None: no such). Raises as `live_session`."""
    if row is None:
        raise SessionRevoked
    session = _SESSION.read(row[: len(_SESSION)])
    if session.user_id != claims.user_id:
        raise SessionRevoked
    session.user = _USER.read(row[len(_SESSION) : len(_SESSION) + len(_USER)])
    if not session.user.is_active:
        raise UserInactive
    if session.revoked_at is not None:
        raise SessionRevoked
    return session


def user_by_login(login: str) -> User | None:
    """Return whose user name, or if it has an "@" e-mail address, this is in any letter case.

    Guests have no login.
    """
    people = User.people.with_accounts()
    if "@" in login:
        # The exclusion is the condition of the index.
        by_email = people.exclude(email="").annotate(key=Lower("email"))
        return by_email.filter(key=Lower(Value(login.strip()))).first()
    username = User.normalize_username(login)
    by_username = people.annotate(key=Lower("username"))
    return by_username.filter(key=Lower(Value(username))).first()


def present_ids(ids: Iterable[UUID]) -> list[UUID]:
    """Return these ids, for guests who were merged into an account that one's."""
    asked = list(ids)
    merged = dict(
        User.people.filter(pk__in=asked, merged_into__isnull=False).values_list(
            "pk", "merged_into_id"
        )
    )
    return [merged.get(one) or one for one in asked]
