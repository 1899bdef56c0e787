"""Together on the page: who is here, who types, what is new; as two people see it."""

import os
import re
from uuid import uuid4

from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import DEADLINE, MARKS, PASSWORD, register, say
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS


async def test_two_people_see_each_other_come_type_and_read(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    context = await browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 844}, color_scheme="dark"
    )
    other = await context.new_page()
    other.set_default_timeout(DEADLINE)
    bob_name = await register(other)
    await expect(other.get_by_role("heading").first).to_be_visible()
    async with (
        api_as(stack, "token", {"username": name, "password": PASSWORD}) as alice,
        api_as(stack, "token", {"username": bob_name, "password": PASSWORD}) as bob,
    ):
        guest = (await bob.get("/api/me/")).json()
        body = {"kind": "group", "title": "Plans", "members": [guest["id"]]}
        group = (await alice.post("/api/conversations/", json=body)).json()
        for number in range(3):
            message = {"client_id": str(uuid4()), "content": f"word {number}"}
            await bob.post(f"/api/conversations/{group['id']}/messages/", json=message)
        await bob.put("/api/me/status/", json={"emoji": "🍜", "text": "at lunch"})
    await page.goto(f"/c/{group['id']}")
    log = page.get_by_role("log")
    await expect(log).to_contain_text("word 2")
    # What one had not read is below a line; bob is here, and says what he does.
    await expect(log.get_by_text("New", exact=True)).to_be_visible()
    await expect(log.get_by_role("img", name="Active").first).to_be_visible()
    await expect(log.get_by_role("img", name="🍜 at lunch").first).to_be_visible()

    # Typing moves nothing.
    await other.goto(f"/c/{group['id']}")
    field = page.get_by_label("Message", exact=True)
    before = await field.bounding_box()
    await other.get_by_label("Message", exact=True).press_sequentially("I think")
    await expect(page.get_by_text(f"{bob_name} is typing…")).to_be_visible()
    assert await field.bounding_box() == before
    await _shot(page, "typing")
    await other.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_text("is typing")).to_have_count(0)
    await say(page, "So do I")
    await expect(other.get_by_role("log")).to_contain_text("So do I")
    await _shot(other, "phone")

    # What is marked as unread stays so until one comes back to it.
    mine = page.get_by_role("article", name=bob_name).filter(has_text="word 1")
    await mine.hover()
    await mine.get_by_role("button", name="Message menu").click()
    await page.get_by_role("menuitem", name="Mark as unread").click()
    await _shot(page, "menu")
    await expect(log.locator("div", has_text=re.compile(r"^New\s*word 1")).last).to_be_visible()
    await _shot(page, "unread")
    await page.get_by_role("link", name="New chat").click()
    entry = page.get_by_role("link", name="Plans")
    await expect(entry).to_contain_text("4 unread")
    await entry.click()
    await expect(log.get_by_text("New", exact=True)).to_be_visible()
    await page.get_by_role("link", name="New chat").click()
    await expect(entry).not_to_contain_text("unread")

    # One's own words about oneself.
    await page.get_by_role("button", name="Your menu").click()
    await page.get_by_role("menuitem", name="Set a status").click()
    await page.get_by_label("What you do").fill("In a meeting")
    await _shot(page, "status")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("button", name="Your menu")).to_contain_text("In a meeting")
    await context.close()


async def _shot(page: Page, name: str) -> None:
    """Keep a picture, if somebody wants to look at them."""
    if folder := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=f"{folder}/{name}.png")
