"""What makes a whole process stand still for milliseconds, and how ours avoid it."""

import gc
import sys

# Seconds that a thread may keep the interpreter from another that wants it. At Python's own 5 ms, a
# thread that asks the database ten times while an event loop is busy waits ten times 5 ms.
_TURN_SECONDS = 0.0005
# New objects, less those freed, after which the youngest are looked through.
_YOUNG_OBJECTS = 5_000


def avoid_pauses() -> None:
    """Once a process has loaded its code: leave that code alone, and let threads take turns sooner.

    Collecting garbage would look through all that was ever imported, some hundred thousand
    objects that stay in any case, again and again. The code is set aside for good; only what
    comes later is looked through.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    sys.setswitchinterval(_TURN_SECONDS)
