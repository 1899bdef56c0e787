"""`manage.py worker`: the process that writes replies and runs every other job."""

import asyncio
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.tuning import avoid_pauses


class Command(BaseCommand):
    """Run a worker until SIGTERM or Ctrl-C; a second one ends it at once."""

    help = "Write replies and run every other job, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options that override the environment."""
        parser.add_argument("--concurrency", type=int, help="jobs at once (WORKER_CONCURRENCY)")
        parser.add_argument("--port", type=int, help="of /health/ and /metrics, 0: any free one")
        parser.add_argument("--drain", type=float, help="seconds replies have to end at SIGTERM")

    def handle(self, **options: Any) -> None:
        """Run the process."""
        from chatire.worker.process import WorkerFailed, WorkerProcess

        async def run() -> None:
            await WorkerProcess(
                concurrency=options["concurrency"],
                drain_seconds=options["drain"],
                port=options["port"],
            ).run()

        avoid_pauses()
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(run())
        except WorkerFailed:
            raise CommandError("A part of the worker died; see its log.", returncode=1) from None
        except OSError as error:
            raise CommandError(f"The worker cannot start: {error}") from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop, as Uvicorn chooses it: uvloop, or asyncio's own without it."""
    try:
        from uvloop import new_event_loop
    except ImportError:  # It is not made for every system.
        return None
    return new_event_loop
