"""Reactions on the page, as two people see them."""

import asyncio
from urllib.parse import quote
from uuid import uuid4

from playwright.async_api import Page, expect

from tests.acceptance.browser import MARKS, PASSWORD, network_of, register
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS


async def test_reactions_of_others_and_ones_own_are_seen_live_and_kept(
    page: Page, stack: Stack
) -> None:
    network = await network_of(page)
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    account = {"username": name, "password": PASSWORD}
    async with (
        api_as(stack, "token", account) as alice,
        api_as(stack, "guest", {"display_name": "Bob"}) as bob,
    ):
        guest = (await bob.get("/api/me/")).json()
        body = {"kind": "group", "title": "Plans", "members": [guest["id"]]}
        group = (await alice.post("/api/conversations/", json=body)).json()
        message = {"client_id": str(uuid4()), "content": "Lunch at one?"}
        address = f"/api/conversations/{group['id']}/messages/"
        said = (await bob.post(address, json=message)).json()["message"]
        reactions = f"/api/messages/{said['id']}/reactions/"
        await page.goto(f"/c/{group['id']}")
        await expect(page.get_by_role("log")).to_contain_text("Lunch at one?")
        thumbs = page.get_by_role("button", name="Thumbs up")

        # Bob's comes by itself; with one's own it is two.
        await bob.put(f"{reactions}{quote('👍')}/")
        await expect(thumbs).to_have_accessible_name("Thumbs up, 1")
        await expect(thumbs).to_have_attribute("aria-pressed", "false")
        await thumbs.click()
        await expect(thumbs).to_have_accessible_name("Thumbs up, 2")
        await expect(thumbs).to_have_attribute("aria-pressed", "true")

        # By the keyboard alone: the second of the third row.
        await page.get_by_role("button", name="React").last.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog", name="Choose a reaction")).to_be_visible()
        for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
            await page.keyboard.press(key)
        await expect(page.get_by_role("button", name="No, 1")).to_be_visible()
        await expect(page.get_by_role("dialog")).to_have_count(0)

        # What is taken back without a network is taken back, and told once there is one.
        network.away = True
        await thumbs.click()
        await expect(thumbs).to_have_accessible_name("Thumbs up, 1")
        assert len((await alice.get(reactions)).json()["results"]) == 3
        network.away = False
        taken_back = []
        async with asyncio.timeout(30):
            while len(taken_back) != 2:
                taken_back = (await alice.get(reactions)).json()["results"]
                await asyncio.sleep(0.1)
        assert sorted(row["emoji"] for row in taken_back) == sorted(["👍", "❌"])

        await page.reload()
        await expect(thumbs).to_have_accessible_name("Thumbs up, 1")
        own = page.get_by_role("button", name="No, 1")
        await expect(own).to_have_attribute("aria-pressed", "true")
