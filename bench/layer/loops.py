"""The event loop that the measured processes run on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, as under Uvicorn, unless BENCH_LOOP=asyncio."""
    if os.environ.get("BENCH_LOOP") == "asyncio":
        return None
    import uvloop

    return uvloop.new_event_loop
