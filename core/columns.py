"""Objects out of SQL written by hand, for the few reads that someone waits for every time.

Django composes the SQL of a queryset anew for each use, which for a wide row costs several times
what the database takes to answer. `Columns` names a model's columns for such a statement and makes
the object of what came back, as the queryset would.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

M = TypeVar("M", bound=Model)


class Columns(Generic[M]):
    """All columns of `model`, of the table that the statement calls `alias`.

    To be made when models are loaded. `str()` is what goes between SELECT and FROM; column names
    are ours, never a client's.
    """

    def __init__(self, model: type[M], alias: str) -> None:
        fields = model._meta.concrete_fields  # noqa: SLF001
        self._model = model
        self._names = [field.attname for field in fields]
        self._sql = ", ".join(f'{alias}."{field.column}"' for field in fields)
        self._converters = [
            (place, convert, field.get_col(alias))
            for place, field in enumerate(fields)
            for convert in field.get_db_converters(connection)
        ]

    def __str__(self) -> str:
        return self._sql

    def __len__(self) -> int:
        return len(self._names)

    def read(self, row: Sequence[Any]) -> M:
        """The object of a row's values, in the order of these columns."""
        values = list(row)
        for place, convert, column in self._converters:
            values[place] = convert(values[place], column, connection)
        return self._model.from_db(DEFAULT_DB_ALIAS, self._names, values)
