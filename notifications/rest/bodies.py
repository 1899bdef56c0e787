"""What REST takes and answers about the inbox beyond the protocol's own state of an entry."""

from typing import Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from protocol.frames import Body
from protocol.states import NotificationState

# How many notifications may be marked read by their ids in one request.
MAX_IDS = 100


class ListQuery(Body):
    """Which notifications to list."""

    unread: bool = Field(False, description="Only those not read yet.")


class MarkRead(Body):
    """Which notifications to mark read: some by their ids, or all."""

    # A factory, as the schema would tell a default that it refuses.
    ids: list[UUID] = Field(default_factory=list, min_length=1, max_length=MAX_IDS)
    all: bool = False

    @model_validator(mode="after")
    def one_of_the_two(self) -> Self:
        """Refuse anything but exactly one of the two."""
        if bool(self.ids) == self.all:
            raise PydanticCustomError("invalid", "Give either ids or all: true.")
        return self


class NotificationPage(Body):
    """Notifications, newest first."""

    next: str | None
    previous: str | None
    results: list[NotificationState]


class Unread(Body):
    """How many notifications are unread."""

    unread: int = Field(ge=0)


class MarkedRead(Unread):
    """What marking did."""

    read: int = Field(ge=0, description="How many were unread until now.")
