"""The fault suite.

    python -m tests.faults [--minutes 1.5] [--seed N] [--rooms 20] [--life 300] [--layer redis]
                           [--only WORD…]

Real processes (web, ws, two workers), real sockets, a PostgreSQL of its own, and a model that
speaks 50 tokens a second, under faults in an order that the seed decides. At the end every client
and every stored row is compared with what the model said, to the byte. Exit status 0 only if all
of it agrees. The processes' logs are kept if it does not.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chatire.stack.environment import state_folder
from chatire.stack.postgres import EmbeddedPostgres
from tests.fakes.openai_server import running_server
from tests.fakes.redis_server import RedisServer
from tests.faults.report import report
from tests.faults.run import Run

RATE = 50.0  # tokens a second


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=1.4, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rooms", type=int, default=20, help="conversations at once")
    parser.add_argument(
        "--life", type=float, default=300.0, help="seconds after which a conversation is replaced"
    )
    parser.add_argument(
        "--layer", choices=["postgres", "redis"], default="postgres", help="carries live events"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="faults named with one of these",
    )
    parser.add_argument("--devices", type=int, default=None, help="of each person, else 1 or 2")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    print(f"SEED={seed}", flush=True)
    name = f"faults-{os.getpid()}"
    logs = state_folder() / f"{name}-logs"
    logs.mkdir(parents=True)
    postgres = EmbeddedPostgres(state_folder(), name=name, on_line=_appender(logs / "postgres.log"))
    with contextlib.ExitStack() as leaving:
        leaving.callback(postgres.destroy)
        postgres.start()
        model = leaving.enter_context(running_server(rate=RATE))
        redis = leaving.enter_context(RedisServer()) if arguments.layer == "redis" else None
        run = Run(
            minutes=arguments.minutes,
            seed=seed,
            rooms=arguments.rooms,
            life=arguments.life,
            devices=arguments.devices,
            logs=logs,
            postgres=postgres,
            redis=redis,
            only=arguments.only,
        )
        asyncio.run(run.run(model))
    print(report(run))
    failed = run.ledger.violations
    if failed:
        print(f"SEED={seed}; the logs are in {logs}")
    else:
        shutil.rmtree(logs)
    print(f"{run.ledger.passed} passed, {len(failed)} failed")
    return 1 if failed else 0


def _appender(path: Path) -> Callable[[str], None]:
    def append(line: str) -> None:
        with path.open("a") as log:
            log.write(f"{time.time():.3f} {line}\n")

    return append


if __name__ == "__main__":
    sys.exit(main())
