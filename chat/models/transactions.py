"""Which transaction changed a row last, for what says who sees it."""

from typing import Any

from django.db import models


class Xid8Field(models.Field):  # type: ignore[type-arg] # not generic at run time
    """The number of a transaction, which says in which snapshots a row is visible."""

    def db_type(self, connection: Any) -> str:
        """PostgreSQL's own type; psycopg reads it as text."""
        return "xid8"


class CurrentTransaction(models.Func):
    """The number of the transaction that a statement runs in, a savepoint's being its whole's."""

    function = "pg_current_xact_id"
    output_field = Xid8Field()
