"""Naming people and assistants on the page, and what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from playwright.async_api import Page, expect

from tests.acceptance.browser import MARKS, PASSWORD, register, say
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is an answer."""
    async with asyncio.timeout(30):
        while not (answer := await ask()):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)
    return answer


async def test_somebody_is_named_by_the_keyboard_and_finds_what_names_them(
    page: Page, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    account = {"username": name, "password": PASSWORD}
    async with (
        api_as(stack, "token", account) as alice,
        api_as(stack, "guest", {"display_name": "Bob"}) as bob,
    ):
        guest = (await bob.get("/api/me/")).json()
        body = {
            "kind": "group",
            "title": "Plans",
            "members": [guest["id"]],
            "assistant": "assistant",
        }
        group = (await alice.post("/api/conversations/", json=body)).json()
        room = f"/api/conversations/{group['id']}/"
        await page.goto(f"/c/{group['id']}")
        field = page.get_by_label("Message", exact=True)
        await field.press_sequentially("hey @b")
        offered = page.get_by_role("listbox", name="Name somebody")
        await expect(offered.get_by_role("option")).to_have_count(1)
        await expect(offered.get_by_role("option", selected=True)).to_contain_text("Bob")
        # What is no choice goes away, and comes back with another name.
        await field.press("Escape")
        await expect(offered).to_have_count(0)
        await field.press_sequentially(" @")
        await expect(offered.get_by_role("option", name="Everyone")).to_be_visible()
        await field.fill("")
        await field.press_sequentially("hey @")
        await expect(offered.get_by_role("option")).to_have_count(4)
        selected = offered.get_by_role("option", selected=True)
        await expect(selected).to_contain_text("@assistant")
        await field.press("ArrowDown")
        await expect(selected).not_to_contain_text("@assistant")
        await field.press("ArrowUp")
        await expect(selected).to_contain_text("@assistant")
        await field.press_sequentially("b")
        await expect(offered.get_by_role("option")).to_have_count(1)
        await field.press("Tab")
        await expect(offered).to_have_count(0)
        written = await field.input_value()
        assert written.startswith("hey @")
        assert written.endswith(" ")
        await field.press_sequentially("lunch?")
        await field.press("Enter")
        chip = page.get_by_role("log").get_by_role("mark")
        # Whoever has no name of their own choosing is shown by the name that people know.
        await expect(chip).to_have_text("@Bob")
        await expect(chip).to_have_attribute("title", written.strip().removeprefix("hey "))
        mentions = (await bob.get("/api/me/mentions/")).json()["results"]
        assert [one["content"] for one in mentions] == [f"{written}lunch?"]

        # Bob names everyone, then her, while she looks elsewhere.
        await page.get_by_role("link", name="New chat").click()
        await expect(page.get_by_role("heading", name="Plans")).to_have_count(0)
        for content in ("@all: at one", f"🙂 @{name}!"):
            message = {"client_id": str(uuid4()), "content": content}
            assert (await bob.post(f"{room}messages/", json=message)).status_code == 201
        listed = page.get_by_role("navigation").get_by_role("link", name="Plans")
        await expect(listed).to_contain_text("2messages name you")
        await page.get_by_role("link", name="Mentions").click()
        found = page.get_by_role("list", name="Messages that name you").get_by_role("listitem")
        await expect(found).to_have_count(2)
        await expect(found.first).to_contain_text(f"🙂 @{name}!")
        await expect(found.first.get_by_role("mark")).to_have_text(f"@{name}")
        await found.first.click()
        await expect(page.get_by_role("heading", name="Plans")).to_be_visible()
        await expect(page.get_by_role("link", name="Mentions")).not_to_contain_text("unread")


async def test_the_room_shows_what_an_assistant_hears_and_one_named_in_the_text_replies(
    page: Page, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    async with api_as(stack, "token", {"username": name, "password": PASSWORD}) as alice:
        body = {"kind": "group", "title": "Plans", "assistant": "assistant"}
        group = (await alice.post("/api/conversations/", json=body)).json()
        room = f"/api/conversations/{group['id']}/"
        await page.goto(f"/c/{group['id']}")
        await say(page, "hello there")
        await page.get_by_label("Message", exact=True).press_sequentially("@ass")
        await expect(page.get_by_role("option", name="Assistant")).to_be_visible()
        await page.keyboard.press("Enter")
        await page.get_by_label("Message", exact=True).press_sequentially("what is the weather?")
        await page.keyboard.press("Enter")
        reply = page.get_by_role("log").get_by_role("article", name="Assistant")
        await expect(reply).to_have_count(1)
        await expect(reply).to_have_attribute("aria-busy", "false")

        await page.get_by_role("button", name="Conversation menu").click()
        await page.get_by_role("menuitem", name="Room details").click()
        hears = page.get_by_label("What Assistant replies to")
        await expect(hears).to_have_value("mentions")
        await hears.select_option("all")

        async def changed() -> bool:
            members = (await alice.get(f"{room}members/")).json()["results"]
            return any(member["hears"] == "all" for member in members)

        await until(changed)
        await page.keyboard.press("Escape")
        await say(page, "and tomorrow?")
        await expect(reply).to_have_count(2)
