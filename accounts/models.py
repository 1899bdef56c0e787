"""People, guests and the sessions they are signed in with."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from uuid_utils.compat import uuid7

# Without "@", so that what someone signs in with is either an address or a user name, never both.
validate_username = RegexValidator(
    r"\A[\w.+-]+\Z", "Use letters, digits and . + - _ only.", code="invalid_username"
)
# Control characters, and those that change the direction of the text around a name.
validate_display_name = RegexValidator(
    r"\A[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*\Z",
    "Control characters are not allowed.",
    code="control_characters_not_allowed",
)


class UserQuerySet(models.QuerySet["User"]):
    """People by whether they may sign in, and with what."""

    def active(self) -> "UserQuerySet":
        """Those that were not deactivated."""
        return self.filter(is_active=True)

    def with_accounts(self) -> "UserQuerySet":
        """Those that are no guests."""
        return self.filter(is_guest=False)


class User(AbstractUser):
    """A person; a guest is one without an account, who may claim one later and keep everything."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    username = models.CharField(
        max_length=150,
        unique=True,
        validators=[validate_username],
        error_messages={"unique": "This user name is taken."},
    )
    email = models.EmailField("e-mail address", blank=True)
    display_name = models.CharField(max_length=80, blank=True, validators=[validate_display_name])
    is_guest = models.BooleanField(default=False)
    # The account of one who was a guest beside it: what they did is its.
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    # Makes people; `people` reads them.
    objects: ClassVar[UserManager["User"]] = UserManager()  # type: ignore[assignment]
    people = UserQuerySet.as_manager()

    class Meta(AbstractUser.Meta):
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_unique",
                condition=~models.Q(email=""),
                violation_error_code="unique",
                violation_error_message="This e-mail address has an account already.",
            ),
            models.UniqueConstraint(
                Lower("username"),
                name="user_username_unique_ci",
                violation_error_code="unique",
                violation_error_message="This user name is taken.",
            ),
            models.CheckConstraint(
                condition=~models.Q(username__contains="@"), name="user_username_no_at"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What other people see."""
        return self.display_name or ("Guest" if self.is_guest else self.username)


class SessionQuerySet(models.QuerySet["Session"]):
    """Sessions by whether their tokens are worth something."""

    def unrevoked(self) -> "SessionQuerySet":
        """Those that were not ended."""
        return self.filter(revoked_at=None)

    def live(self) -> "SessionQuerySet":
        """Those that were not ended, of people who may sign in."""
        return self.unrevoked().filter(user__is_active=True)


class Session(models.Model):
    """One sign-in on one device. Its id is the `sid` claim of every token made from it.

    Revoking it makes all of them worthless at once, access tokens included. It expires with the
    last refresh token made from it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    user_agent = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # The id of the refresh token that was spent last: of its successors, none has been used yet.
    spent = models.CharField(max_length=64, blank=True, editable=False)

    objects = SessionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.user} since {self.created_at:%Y-%m-%d}"
