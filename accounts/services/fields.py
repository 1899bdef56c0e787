"""Refusing what a field cannot hold, in the shape REST's own validation has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import User
from core.errors import Invalid


def check_fields(user: User) -> None:
    """Raise Invalid unless every field but the password is acceptable."""
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as error:
        fields = [
            problem
            for name, problems in error.error_dict.items()
            for problem in _problems(name, ValidationError(problems))
        ]
        raise Invalid(fields=fields) from None


@contextmanager
def names_taken_refused() -> Iterator[None]:
    """Turn a violated uniqueness into Invalid; only the database knows, as others write too."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") or ""
        if constraint == "user_email_unique":
            taken = ValidationError("This e-mail address has an account already.", code="unique")
            raise invalid("email", taken) from None
        if "username" in constraint:
            taken = ValidationError("This user name is taken.", code="unique")
            raise invalid("username", taken) from None
        raise


def invalid(field: str, error: ValidationError) -> Invalid:
    """Return `error` as one about `field`."""
    return Invalid(fields=_problems(field, error))


def _problems(field: str, error: ValidationError) -> list[dict[str, Any]]:
    return [
        {"field": field, "code": problem.code or "invalid", "message": " ".join(problem.messages)}
        for problem in error.error_list
    ]
