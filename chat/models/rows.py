"""What tables have in common."""

from typing import Any, Final

from django.db import models
from uuid_utils.compat import uuid7


class IdentifiedRow(models.Model):
    """A row with an id of its own, which says nothing but when it was made."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True


# Of a key that the database does not check, since that would lock the other row, and does not
# index: what is written often, and read by another index.
UNCHECKED: Final[dict[str, Any]] = {
    "on_delete": models.DO_NOTHING,
    "db_constraint": False,
    "db_index": False,
}
