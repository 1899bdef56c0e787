"""What REST takes and gives about accounts. The rules are the model's and the services'."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from accounts.models import User, validate_username
from accounts.services import PASSWORD_MAX_LENGTH, Tokens

_REFRESH_MAX_LENGTH = 4096


class PasswordField(serializers.CharField):
    """A password, kept exactly as typed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            write_only=True,
            trim_whitespace=False,
            max_length=PASSWORD_MAX_LENGTH,
            style={"input_type": "password"},
            **kwargs,
        )


class DisplayNameField(serializers.CharField):
    """What other people see; empty: the user name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=80,
            allow_blank=True,
            help_text="What other people see; empty: the user name.",
            **kwargs,
        )


@extend_schema_serializer(component_name="User")
class UserSerializer(serializers.ModelSerializer[User]):
    """A person as they see themselves."""

    name = serializers.CharField(read_only=True, help_text="What other people see.")
    # No EmailField: the empty string is not an address.
    email = serializers.CharField(read_only=True, help_text="Empty if there is none.")

    class Meta:
        model = User
        fields = ("id", "username", "name", "email", "is_guest")
        read_only_fields = fields


@extend_schema_serializer(component_name="Tokens")
class TokensSerializer(serializers.Serializer[Tokens]):
    """A session's tokens, and whose it is."""

    access = serializers.CharField(help_text="For `Authorization: Bearer`, until it expires.")
    refresh = serializers.CharField(help_text="For one refresh, which answers with the next one.")
    access_expires_at = serializers.DateTimeField()
    user = UserSerializer(source="session.user")


class AccountSerializer(serializers.Serializer[User]):
    """What an account is made of."""

    username = serializers.CharField(max_length=150, validators=[validate_username])
    password = PasswordField()
    email = serializers.EmailField(max_length=254, allow_blank=True, default="")


class RegistrationSerializer(AccountSerializer):
    """A new account."""

    display_name = DisplayNameField(default="")


class ClaimSerializer(AccountSerializer):
    """The account a guest becomes."""


class GuestSerializer(serializers.Serializer[User]):
    """A new guest."""

    display_name = DisplayNameField(default="")


class SignInSerializer(serializers.Serializer[User]):
    """Who signs in."""

    username = serializers.CharField(max_length=254, help_text="A user name or e-mail address.")
    password = PasswordField()


class RefreshSerializer(serializers.Serializer[Tokens]):
    """A refresh token to spend."""

    refresh = serializers.CharField(max_length=_REFRESH_MAX_LENGTH)


class SignOutSerializer(RefreshSerializer):
    """A session to end."""

    everywhere = serializers.BooleanField(
        default=False, help_text="End every session of this person, not only this one."
    )


class PasswordChangeSerializer(serializers.Serializer[User]):
    """The present password and the next."""

    current_password = PasswordField()
    new_password = PasswordField()


class PasswordResetSerializer(serializers.Serializer[User]):
    """Where to mail a reset link."""

    email = serializers.EmailField(max_length=254)


class PasswordResetConfirmSerializer(serializers.Serializer[User]):
    """What a reset link carries, and the next password."""

    uid = serializers.CharField(max_length=100)
    token = serializers.CharField(max_length=200)
    new_password = PasswordField()


class ProfileSerializer(serializers.Serializer[User]):
    """What people may change about themselves."""

    display_name = DisplayNameField(required=False)
