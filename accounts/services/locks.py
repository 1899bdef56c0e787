"""Locking people. Locks are taken on the user first, then on sessions."""

from accounts.models import User, UserQuerySet


def users_for_update() -> UserQuerySet:
    """People, locked as they are read.

    NO KEY leaves room for the key-share locks of rows that refer to them, such as a token that
    is being spent: without it, that and a change of password could deadlock.
    """
    return User.people.select_for_update(no_key=True)


def locked(user: User) -> User:
    """Return `user` as they are now, locked until the transaction ends."""
    return users_for_update().get(pk=user.pk)
