"""One stack of real processes for the whole session; tests that break things start their own."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.acceptance.browser import ARGUMENTS, CHROMIUM, DEADLINE
from tests.acceptance.pooler import PGBOUNCER, running_pooler, through
from tests.acceptance.stack import Database, Stack
from tests.fakes.openai_server import RunningServer, running_server


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database as the `release` line leaves it, to be copied."""
    database = Database(os.environ["DATABASE_URL"])
    database.create()
    try:
        stack = Stack(
            database_url=database.url, model_url="", logs=tmp_path_factory.mktemp("migrate")
        )
        stack.release()
        yield database
    finally:
        database.drop()


@pytest.fixture(scope="session")
def paced_model() -> Iterator[RunningServer]:
    """The fake model at a real one's pace: 50 tokens a second."""
    with running_server(rate=50.0) as server:
        yield server


@pytest.fixture(scope="module")
def pooler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a transaction-mode PgBouncer before the test server."""
    if PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed")
    with running_pooler(tmp_path_factory.mktemp("pgbouncer")) as address:
        yield address


StartStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def start_stack(
    migrated: Database,
    paced_model: RunningServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartStack]:
    """`start_stack(workers=1, **settings)`: processes on a fresh copy of the database.

    With `pooler`, a `host:port`, they reach it through that, and listen directly.
    """
    running: list[tuple[Stack, Database]] = []

    def start(workers: int = 1, pooler: str = "", **settings: str) -> Stack:
        database = Database(os.environ["DATABASE_URL"])
        database.create(template=migrated)
        url = database.url
        if pooler:
            url = through(pooler, url)
            settings["DATABASE_DIRECT_URL"] = database.url
        logs: Path = tmp_path_factory.mktemp("stack")
        stack = Stack(
            database_url=url,
            model_url=settings.pop("model_url", paced_model.base_url),
            logs=logs,
            workers=workers,
            **settings,
        )
        running.append((stack, database))
        stack.start()
        return stack

    yield start
    for stack, database in running:
        stack.__exit__(None, None, None)
        database.drop()


@pytest.fixture(scope="session")
def stack(start_stack: StartStack) -> Stack:
    """The stack that tests share which leave it as they found it."""
    return start_stack()


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def page(browser: Browser, stack: Stack) -> AsyncIterator[Page]:
    """A tab of a browser of its own; anything the page complains of fails the test."""
    context = await browser.new_context(base_url=stack.url)
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert complaints == []
