"""Keeping order on the page: bob is a member of a room that alice owns."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
from playwright.async_api import Browser, Locator, Page, expect

from tests.acceptance.browser import MARKS, PASSWORD, register, say, second_device
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS


class Room:
    """A room of alice, whose page is open, of bob and of eve."""

    def __init__(self, group: dict[str, Any], alice: httpx.AsyncClient, eve: httpx.AsyncClient):
        self.group, self.alice, self.eve = group, alice, eve
        self.url = f"/api/conversations/{group['id']}/"

    async def eve_says(self, text: str) -> str:
        """Let eve say something; return the message's id."""
        body = {"client_id": uuid4().hex, "content": text}
        said = await self.eve.post(f"{self.url}messages/", json=body)
        return str(said.json()["message"]["id"])


@asynccontextmanager
async def room_of(page: Page, stack: Stack) -> AsyncIterator[tuple[Room, str]]:
    """The room, open on alice's page, and bob's user name."""
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    bob = f"bob-{uuid4().hex[:8]}"
    new = {"username": bob, "email": f"{bob}@example.org", "password": PASSWORD}
    async with (
        api_as(stack, "token", {"username": name, "password": PASSWORD}) as alice,
        api_as(stack, "register", new) as bobs,
        api_as(stack, "guest", {"display_name": "Eve"}) as eve,
    ):
        ids = [(await one.get("/api/me/")).json()["id"] for one in (bobs, eve)]
        body = {"kind": "group", "title": "Plans", "members": ids}
        group = (await alice.post("/api/conversations/", json=body)).json()
        await page.goto(f"/c/{group['id']}")
        await expect(page.get_by_role("heading", name="Plans")).to_be_visible()
        yield Room(group, alice, eve), bob


def said_by(page: Page, name: str, text: str = "") -> Locator:
    """What somebody said."""
    return page.get_by_role("log").get_by_role("article", name=name).filter(has_text=text)


async def choose(page: Page, message: Locator, item: str) -> None:
    """Choose something of a message's menu."""
    await message.hover()
    await message.get_by_role("button", name="Message menu").click()
    await page.get_by_role("menuitem", name=item).click()


async def test_bob_reports_alice_deletes_and_bob_sees_it(
    page: Page, browser: Browser, stack: Stack
) -> None:
    async with room_of(page, stack) as (room, name):
        await room.eve_says("Buy my pills")
        async with second_device(browser, stack, name, f"/c/{room.group['id']}") as bob:
            pills = said_by(bob, "Eve", "Buy my pills")
            await choose(bob, pills, "Report…")
            dialog = bob.get_by_role("dialog", name="Report this message")
            await dialog.get_by_label("More about it").fill("for the third time")
            await dialog.get_by_role("button", name="Report", exact=True).click()
            await expect(dialog.get_by_role("status")).to_contain_text("It was passed on")
            await dialog.get_by_role("button", name="Close").click()

            await page.get_by_role("button", name="Conversation menu, 1 report").click()
            await page.get_by_role("menuitem", name="Room details").click()
            queue = page.get_by_role("region", name="Reported messages")
            await expect(queue).to_contain_text("Buy my pills")
            await expect(queue).to_contain_text("for the third time")
            await expect(queue).not_to_contain_text(name)
            await queue.get_by_role("button", name="Delete: Eve").click()
            await expect(queue).to_have_count(0)

            await expect(
                said_by(bob, "Eve", "This message was deleted by a moderator.")
            ).to_have_count(1)
            await expect(pills).to_have_count(0)
            await page.get_by_text("What was done to keep order").click()
            log = page.get_by_role("list", name="What was done to keep order")
            await expect(log).to_contain_text("decided about a report: Eve (deleted)")
            await page.keyboard.press("Escape")
            # What it said is still there for alice, and for nobody else.
            await page.get_by_role("log").get_by_role("button", name="deleted").click()
            former = page.get_by_role("dialog", name="What it said before")
            await expect(former).to_contain_text("Buy my pills")
            await expect(
                bob.get_by_role("log").get_by_role("button", name="deleted")
            ).to_have_count(0)


async def test_slow_mode_counts_down_and_silence_hides_the_composer(
    page: Page, browser: Browser, stack: Stack
) -> None:
    async with room_of(page, stack) as (room, name):
        await page.get_by_role("button", name="Conversation menu").click()
        await page.get_by_role("menuitem", name="Room details").click()
        await page.get_by_label("Slow mode").select_option("5 seconds")
        async with second_device(browser, stack, name, f"/c/{room.group['id']}") as bob:
            await say(bob, "Hello")
            await expect(bob.get_by_role("timer")).to_contain_text("you can say the next thing in")
            await bob.get_by_label("Message", exact=True).fill("and again")
            send = bob.get_by_role("button", name="Send", exact=True)
            await expect(send).to_be_disabled()
            await expect(bob.get_by_role("timer")).to_have_count(0)
            await send.click()
            await expect(said_by(bob, "You", "and again")).to_have_count(1)

            members = page.get_by_role("region", name="Members")
            await members.get_by_role("button", name=f"What to do about {name}").click()
            await page.get_by_role("menuitem", name="Silence for an hour").click()
            await expect(members).to_contain_text("silenced")
            await expect(bob.get_by_text("A moderator has silenced you here until")).to_be_visible()
            await expect(bob.get_by_label("Message", exact=True)).to_have_count(0)
            await members.get_by_role("button", name=f"What to do about {name}").click()
            await page.get_by_role("menuitem", name="Let speak again").click()
            await expect(bob.get_by_label("Message", exact=True)).to_be_visible()


async def test_what_is_quoted_and_pinned_is_found_again(
    page: Page, browser: Browser, stack: Stack
) -> None:
    async with room_of(page, stack) as (room, name):
        first = await room.eve_says("Where do we meet?")
        for number in range(60):
            await room.eve_says(f"Number {number}")
        await expect(said_by(page, "Eve", "Number 59")).to_be_visible()
        answer = {"client_id": uuid4().hex, "content": "At the pier", "parent": first}
        await room.alice.post(f"{room.url}messages/", json=answer)
        # It is not among the messages that were loaded.
        quote = page.get_by_title("Go to what is quoted")
        await expect(quote).to_contain_text("Eve Where do we meet?")
        await quote.click()
        asked = said_by(page, "Eve", "Where do we meet?")
        await expect(asked).to_be_in_viewport()

        await choose(page, asked, "Pin message")
        async with second_device(browser, stack, name, f"/c/{room.group['id']}") as bob:
            await expect(said_by(bob, "Eve", "Number 59")).to_be_visible()
            await bob.get_by_role("button", name="Conversation menu").click()
            await bob.get_by_role("menuitem", name="Pinned messages").click()
            pins = bob.get_by_role("list", name="Pinned messages")
            await pins.get_by_role("button", name="Where do we meet?").click()
            await expect(said_by(bob, "Eve", "Where do we meet?")).to_be_in_viewport()

            # Bob quotes it; then it is deleted.
            await choose(bob, said_by(bob, "Eve", "Where do we meet?"), "Quote")
            await expect(bob.get_by_label("Message", exact=True)).to_be_focused()
            await say(bob, "By bike?")
            await expect(bob.get_by_title("Go to what is quoted")).to_have_count(2)
            await room.eve.delete(f"/api/messages/{first}/")
            quoted = bob.get_by_title("Go to what is quoted").last
            await expect(quoted).to_contain_text("This message was deleted.")


async def test_whom_one_blocks_is_folded_until_one_wants_to_see(page: Page, stack: Stack) -> None:
    async with room_of(page, stack) as (room, _name):
        await room.eve_says("Nonsense")
        nonsense = said_by(page, "Eve", "Nonsense")
        await choose(page, nonsense, "Block Eve")
        await expect(nonsense).to_have_count(0)
        await room.eve_says("More of it")
        log = page.get_by_role("log")
        await expect(log.get_by_text("A message from someone you blocked")).to_have_count(2)
        await log.get_by_role("button", name="Show").first.click()
        await expect(nonsense).to_be_visible()

        await page.get_by_role("button", name="Your menu").click()
        await page.get_by_role("menuitem", name="Blocked people").click()
        await page.get_by_role("button", name="Unblock Eve").click()
        await expect(page.get_by_text("You block nobody.")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(said_by(page, "Eve", "More of it")).to_be_visible()
