"""What is known of the installation as a whole."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7


class Installation(models.Model):
    """The one row about this installation. `epoch` is renewed after a restore from backup."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    epoch = models.UUIDField(default=uuid7)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="installation_is_one", condition=Q(id=1))
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch}"
