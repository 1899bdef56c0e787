"""What is done once a transaction has committed, and may then fail without harm."""

from collections.abc import Callable

import structlog
from django.db import transaction
from django.db.utils import Error as DatabaseError

from channels_pgnotify.errors import LayerError

logger = structlog.get_logger(__name__)


def after_commit(work: Callable[[], object], *, lost: str) -> None:
    """Do `work` once the present transaction commits; at once outside of one.

    What it is about is stored by then, so a database or a channel layer that is away is no error:
    the event `lost` is logged, and whoever was to be told finds out in another way.
    """

    def attempt() -> None:
        try:
            work()
        except (DatabaseError, LayerError) as error:
            logger.warning(lost, error=type(error).__name__)

    transaction.on_commit(attempt, robust=True)
