"""What fits where on the page: nothing makes it scroll off itself, and words stay whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import DEADLINE, MARKS, PASSWORD, register, say
from tests.acceptance.stack import Stack
from tests.fakes.script import directive

pytestmark = MARKS

# How far (pixels) the document itself can be scrolled, to the side and down.
OFF_ITSELF = """() => {
    const {scrollWidth, clientWidth, scrollHeight, clientHeight} = document.documentElement;
    return [scrollWidth - clientWidth, scrollHeight - clientHeight];
}"""
# The elements that scroll but do not hold what is placed in them.
LOOSE_SCROLLERS = """() => [...document.querySelectorAll('body :not(textarea)')]
    .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflow))
    .filter((one) => getComputedStyle(one).position === 'static')
    .map((one) => one.outerHTML.slice(0, 100))"""
# The words in a table that go on in another line.
BROKEN_WORDS = """() => {
    const broken = [];
    for (const cell of document.querySelectorAll('[role=log] :is(th, td)')) {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            for (const {0: word, index} of texts.currentNode.data.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(texts.currentNode, index);
                range.setEnd(texts.currentNode, index + word.length);
                const lines = new Set([...range.getClientRects()].map(({top}) => top));
                if (lines.size > 1) broken.push(word);
            }
        }
    }
    return broken;
}"""
# In how many lines the longest cell of a table is set.
MOST_LINES = """() => Math.max(...[...document.querySelectorAll('[role=log] td')].map((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return new Set([...range.getClientRects()].map(({top}) => top)).size;
}))"""


@asynccontextmanager
async def phone(browser: Browser, stack: Stack) -> AsyncIterator[Page]:
    """A guest's phone."""
    context = await browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 844}, has_touch=True
    )
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    await expect(page.get_by_label("Message", exact=True)).to_be_enabled()
    yield page
    await context.close()


async def answered(page: Page, markdown: str) -> None:
    """Have a reply say this, and wait for its end."""
    await say(page, f"Go {directive(pieces=[markdown], rate=0)}")
    await expect(page.get_by_role("button", name="Regenerate")).to_be_visible()


async def test_ten_unread_chats_scroll_in_their_list_and_not_the_page(
    page: Page, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    async with httpx.AsyncClient(base_url=stack.url) as client:
        body = {"username": name, "password": PASSWORD}
        me = (await client.post("/api/auth/token/", json=body)).json()["user"]["id"]
        body = {"username": f"bob-{uuid4().hex[:8]}", "password": PASSWORD}
        bob = (await client.post("/api/auth/register/", json=body)).json()
        client.headers["Authorization"] = f"Bearer {bob['access']}"
        for number in range(10):
            group = {"kind": "group", "title": f"Group {number}", "members": [me]}
            made = (await client.post("/api/conversations/", json=group)).json()
            said = {"client_id": str(uuid4()), "content": "Are you there?"}
            await client.post(f"/api/conversations/{made['id']}/messages/", json=said)
    await page.set_viewport_size({"width": 1280, "height": 500})
    chats = page.get_by_role("navigation", name="Conversations")
    await expect(chats.get_by_text("unread", exact=False)).to_have_count(10)

    assert await page.evaluate(OFF_ITSELF) == [0, 0]


async def test_a_footnote_scrolls_with_its_message_and_not_the_page(
    browser: Browser, stack: Stack
) -> None:
    async with phone(browser, stack) as page:
        paragraphs = "".join(f"Paragraph {number}.\n\n" for number in range(60))
        await answered(page, f"{paragraphs}As is known.[^1]\n\n[^1]: By whom?\n")
        await expect(page.get_by_text("By whom?")).to_be_visible()

        assert await page.evaluate(OFF_ITSELF) == [0, 0]


async def test_whatever_scrolls_holds_what_is_placed_in_it(page: Page) -> None:
    await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    assert await page.evaluate(LOOSE_SCROLLERS) == []
    await answered(page, "| a | b |\n| - | - |\n| 1 | 2 |\n\n```\ncode\n```\n")
    await expect(page.get_by_role("table")).to_be_visible()
    assert await page.evaluate(LOOSE_SCROLLERS) == []
    await page.get_by_role("button", name="Notifications").click()
    await expect(page.get_by_role("heading", name="Notifications")).to_be_visible()
    assert await page.evaluate(LOOSE_SCROLLERS) == []


@pytest.mark.parametrize("columns", [2, 6])
async def test_a_wide_table_scrolls_to_the_side_and_its_words_stay_whole(
    browser: Browser, stack: Stack, columns: int
) -> None:
    long = "Everything that was said about this remains where everybody can find it"
    cells = ["Configuration", long, "internationalisation", "1,000", long, "Yes"][:columns]
    row = f"| {' | '.join(cells)} |\n"
    rule = f"|{' --- |' * columns}\n"
    async with phone(browser, stack) as page:
        await answered(page, f"| {' | '.join('Heading' for _ in cells)} |\n{rule}{row}{row}")
        table = page.get_by_role("table")
        await expect(table).to_be_visible()

        assert await page.evaluate(BROKEN_WORDS) == []
        assert await page.evaluate(MOST_LINES) <= 5
        assert await page.evaluate(OFF_ITSELF) == [0, 0]
        # Of what does not fit, the rest is a swipe away.
        hidden = await table.evaluate("(one) => one.offsetWidth - one.parentElement.clientWidth")
        assert (hidden > 0) == (columns == 6)
        last = page.get_by_role("cell").last
        await last.scroll_into_view_if_needed()
        await expect(last).to_be_in_viewport(ratio=0.9)
