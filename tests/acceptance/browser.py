"""A person at the page in headless Chromium."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, Route, WebSocketRoute, expect

from tests.acceptance.stack import ROOT, Stack
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


@asynccontextmanager
async def second_device(browser: Browser, stack: Stack, name: str, url: str) -> AsyncIterator[Page]:
    """Another browser in which the same person has signed in and opened the same page."""
    context = await browser.new_context(base_url=stack.url)
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    await page.goto("/login")
    await page.get_by_label("Username or e-mail").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    await page.goto(url)
    yield page
    await context.close()


def own(page: Page, text: str) -> Locator:
    """What one said oneself, by some of its words."""
    return page.get_by_role("log").get_by_role("article", name="You").filter(has_text=text)


def plain(letter: str, count: int) -> tuple[str, str]:
    """Return a directive for a reply of so many plain words, and the reply as it reads."""
    pieces = [f"{letter}{number} " for number in range(count)]
    return directive(pieces=pieces, rate=50), "".join(pieces).strip()


async def expect_words(page: Page, text: str) -> None:
    """Wait until the conversation shows the whole of this text, once."""
    log = page.get_by_role("log")
    await expect(log).to_contain_text(text)
    assert (await log.inner_text()).count(text) == 1


async def stored(stack: Stack, name: str, page: Page) -> list[dict[str, Any]]:
    """The messages of the conversation that a page shows, as the server has them."""
    async with httpx.AsyncClient(base_url=stack.url) as client:
        answer = await client.post(
            "/api/auth/token/", json={"username": name, "password": PASSWORD}
        )
        headers = {"Authorization": f"Bearer {answer.json()['access']}"}
        conversation = page.url.rsplit("/", 1)[1]
        history = await client.get(f"/api/conversations/{conversation}/messages/", headers=headers)
        return list(history.json()["results"])


@dataclass
class Network:
    """What is between a page and the server."""

    away: bool = False


async def network_of(page: Page) -> Network:
    """Take hold of the network of a page that has not been opened yet."""
    network = Network()

    async def rest(route: Route) -> None:
        await (route.abort() if network.away else route.continue_())

    async def socket(route: WebSocketRoute) -> None:
        if network.away:
            await route.close(code=1012)
            return
        server = route.connect_to_server()

        async def to_server(frame: str | bytes) -> None:
            if network.away:
                await route.close(code=1012)
            else:
                server.send(frame)

        def to_page(frame: str | bytes) -> None:
            if not network.away:
                route.send(frame)

        route.on_message(to_server)
        server.on_message(to_page)

    await page.route("**/api/**", rest)
    await page.route_web_socket("**/ws/", socket)
    return network
