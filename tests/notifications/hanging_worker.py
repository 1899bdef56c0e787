"""A worker process whose provider makes a file, given as argument, and then hangs."""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from tests.notifications.doubles import RecordingProvider  # noqa: E402
from tests.notifications.worker import run_due_jobs  # noqa: E402


def hang(self: RecordingProvider, payload: Any) -> None:
    Path(sys.argv[1]).touch()
    threading.Event().wait()


if __name__ == "__main__":
    settings.DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
    connections["default"].settings_dict["NAME"] = os.environ["TEST_DATABASE"]
    RecordingProvider.send = hang  # type: ignore[method-assign]
    asyncio.run(run_due_jobs())
