"""The text of an invitation's link: its id and a signature, so that nothing secret is stored."""

from typing import Final
from uuid import UUID

from django.utils.crypto import constant_time_compare, salted_hmac

from chat.models.joining import Invitation

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 22  # 62 ** 22 > 2 ** 128
_SIGNATURE_LENGTH: Final = 12  # 71 bits


def invitation_token(invitation: Invitation) -> str:
    """Return the token of an invitation as it is now; raising its version makes another."""
    return _text(invitation.pk.int, _ID_LENGTH) + _signature(invitation.pk, invitation.version)


def invitation_id(token: str) -> UUID | None:
    """Return which invitation a token claims to be of; None for what is no token."""
    if len(token) != _ID_LENGTH + _SIGNATURE_LENGTH or not set(token) <= set(_DIGITS):
        return None
    number = 0
    for digit in token[:_ID_LENGTH]:
        number = number * 62 + _DIGITS.index(digit)
    return UUID(int=number) if number < 2**128 else None


def is_token_of(token: str, invitation: Invitation) -> bool:
    """Say whether a token is the invitation's present one."""
    return constant_time_compare(token, invitation_token(invitation))


def _signature(invitation: UUID, version: int) -> str:
    signed = salted_hmac("chat.invitation", f"{invitation}:{version}", algorithm="sha256")
    return _text(int.from_bytes(signed.digest()), _SIGNATURE_LENGTH)


def _text(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
