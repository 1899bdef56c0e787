"""Gunicorn's hooks, for its `--config`; its options are in the Procfile.

Each of Gunicorn's processes keeps its metrics in files of its own, and whichever is asked answers
for all of them. The files are named after a worker's place, not its process id: the next worker
in that place counts on, so counters never go back, and there are never more files than places.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "chatire-metrics-"


def on_starting(server: Any) -> None:
    """Make an empty folder of our own, before anything that counts is imported."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Held for as long as any of our processes lives.
    server.lives = (folder / "starting").open("w")
    fcntl.flock(server.lives, fcntl.LOCK_EX)
    (folder / "starting").rename(folder / "lives")
    os.environ[_FOLDER] = str(folder)


def _sweep() -> None:
    """Delete what was left by those who were killed."""
    for lives in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lives"):
        try:
            with lives.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lives.parent)
        except OSError:
            continue  # they live, or they are not ours


def pre_fork(server: Any, worker: Any) -> None:
    """Give a new worker the first free place."""
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in range(len(taken) + 1) if place not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Name this worker's files after its place."""
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: worker.place)  # type: ignore[no-untyped-call]


def child_exit(server: Any, worker: Any) -> None:
    """Forget what a worker that is gone was doing when it went."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.place)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)
