"""Who wants nothing from whom."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import User
from chat.models import Block


def blocked_ids(user_id: UUID) -> list[UUID]:
    """Whom a person blocks, the first blocked first."""
    blocks = Block.objects.filter(user=user_id, on=True).order_by("created_at", "blocked")
    return list(blocks.values_list("blocked", flat=True))


def blocks_of(user: User) -> QuerySet[User]:
    """The people whom a person blocks."""
    return User.objects.filter(pk__in=blocked_ids(user.pk))


def who_block(user_id: UUID, among: Iterable[UUID]) -> set[UUID]:
    """Which of these people block this person."""
    blocks = Block.objects.filter(user__in=among, blocked=user_id, on=True)
    return set(blocks.values_list("user", flat=True))
