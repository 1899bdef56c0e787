"""A person at the page in headless Chromium."""

import shutil
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.stack import ROOT
from tests.fakes.script import directive

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# What every module that drives the page is marked with.
MARKS = [
    pytest.mark.acceptance,
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(
        not (ROOT / "frontend/dist/index.html").exists(), reason="frontend/ is not built"
    ),
]
PASSWORD = "correct-horse-battery"
DEADLINE = 30_000  # milliseconds
expect.set_options(timeout=DEADLINE)
# What keeps a browser on a closed network from trying to reach its maker.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


async def register(page: Page) -> str:
    """Make an account on the page; return its user name."""
    name = f"alice-{uuid4().hex[:8]}"
    await page.goto("/")
    await page.get_by_role("button", name="Create an account").click()
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    return name


async def say(page: Page, text: str) -> None:
    """Type a message and send it."""
    await page.get_by_label("Message", exact=True).fill(text)
    await page.get_by_role("button", name="Send", exact=True).click()


def plain(letter: str, count: int) -> tuple[str, str]:
    """Return a directive for a reply of so many plain words, and the reply as it reads."""
    pieces = [f"{letter}{number} " for number in range(count)]
    return directive(pieces=pieces, rate=50), "".join(pieces).strip()


async def expect_words(page: Page, text: str) -> None:
    """Wait until the conversation shows the whole of this text, once."""
    log = page.get_by_role("log")
    await expect(log).to_contain_text(text)
    assert (await log.inner_text()).count(text) == 1
