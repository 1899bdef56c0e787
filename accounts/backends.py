"""Sign-in by e-mail address or by user name."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.models import User
from accounts.selectors import user_by_login


class EmailOrUsernameBackend(ModelBackend):
    """Accept either name for the same account, in any letter case."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user whose e-mail address or user name and password these are, or None."""
        login = username if username is not None else kwargs.get(User.USERNAME_FIELD)
        if not login or password is None or "\0" in login:
            return None
        user = user_by_login(login)
        if user is None:
            # Hash anyway, so that the time taken does not tell whether the account exists.
            User().set_password(password)
            return None
        if user.check_password(password) and self.user_can_authenticate(user):
            return user
        return None
