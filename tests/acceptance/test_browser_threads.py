"""Threads on the page, as two people see them."""

from uuid import uuid4

import httpx
from playwright.async_api import Browser, Locator, Page, expect

from tests.acceptance.browser import DEADLINE, MARKS, PASSWORD, plain, register
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS


def thread(page: Page) -> Locator:
    """The thread that is open."""
    return page.get_by_role("region", name="Thread")


async def reply(page: Page, text: str) -> None:
    """Say something in it."""
    await page.get_by_label("Reply", exact=True).fill(text)
    await thread(page).get_by_role("button", name="Send", exact=True).click()


async def say(api: httpx.AsyncClient, room: str, text: str) -> str:
    """Say something in a room; return the message's id."""
    body = {"client_id": str(uuid4()), "content": text}
    answer = await api.post(f"/api/conversations/{room}/messages/", json=body)
    return str(answer.json()["message"]["id"])


async def test_two_people_talk_in_a_thread_one_of_them_on_a_phone(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    account = {"username": name, "password": PASSWORD}
    bob = {"username": f"bob-{uuid4().hex[:8]}", "password": PASSWORD}
    async with api_as(stack, "token", account) as api:
        made = await api.post("/api/auth/register/", json={**bob, "email": ""})
        person = made.json()["user"]["id"]
        body = {"kind": "group", "title": "Plans", "members": [person]}
        group = (await api.post("/api/conversations/", json=body)).json()["id"]
        await say(api, group, "Where do we eat?")
        await page.goto(f"/c/{group}")
        await expect(page.get_by_role("log", name="Chat")).to_contain_text("Where do we eat?")

        # Bob begins it on his phone, where it takes the whole of the page.
        context = await browser.new_context(
            base_url=stack.url, viewport={"width": 390, "height": 844}, has_touch=True
        )
        phone = await context.new_page()
        phone.set_default_timeout(DEADLINE)
        await phone.goto("/login")
        await phone.get_by_label("Username or e-mail").fill(bob["username"])
        await phone.get_by_label("Password").fill(PASSWORD)
        await phone.get_by_role("button", name="Sign in", exact=True).click()
        await expect(phone.get_by_role("button", name="Open conversations")).to_be_visible()
        await phone.goto(f"/c/{group}")
        await phone.get_by_role("link", name="Reply in thread").click()
        await expect(phone.get_by_role("log", name="Chat")).to_have_count(0)
        await reply(phone, "At Luigi's.")
        await expect(thread(phone).get_by_role("log")).to_contain_text("At Luigi's.")

        # Alice is told in her list and under what she said, and answers beside the room.
        threads = page.get_by_role("link", name="Threads")
        await expect(threads).to_contain_text("1")
        line = page.get_by_role("link", name="1 reply")
        await expect(line).to_be_visible()
        await line.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log", name="Chat")).to_be_visible()
        await expect(thread(page).get_by_role("log")).to_contain_text("At Luigi's.")
        await expect(threads).not_to_contain_text("1")
        await thread(page).get_by_label("Also send to the room").check()
        await reply(page, "One o'clock.")
        await expect(thread(phone).get_by_role("log")).to_contain_text("One o'clock.")
        room = page.get_by_role("log", name="Chat")
        await expect(room).to_contain_text("One o'clock.")
        await expect(room).to_contain_text("In answer to")
        await expect(room.get_by_role("link", name="2 replies")).to_be_visible()

        # Back on the phone the room has both; what is said meanwhile is unread in the list.
        await phone.get_by_role("link", name="Back").click()
        await expect(phone.get_by_role("log", name="Chat")).to_contain_text("One o'clock.")
        await reply(page, "Or two.")
        await expect(phone.get_by_role("link", name="3 replies")).to_be_visible()
        await phone.goto("/threads")
        entry = phone.get_by_role("list", name="Threads").get_by_role("link")
        await expect(entry).to_contain_text("Where do we eat?")
        await expect(entry).to_contain_text("1 unread")

        # Escape closes it; unfollowed, it is in nobody's list.
        await thread(page).get_by_role("button", name="Unfollow thread").click()
        await expect(thread(page).get_by_role("button", name="Follow thread")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(thread(page)).to_have_count(0)
        await threads.click()
        await expect(page.get_by_text("You follow no threads.")).to_be_visible()

        # Who is shown out of the room is shown out of its threads.
        members = (await api.get(f"/api/conversations/{group}/members/")).json()["results"]
        (member,) = [one["id"] for one in members if (one["user"] or {}).get("id") == person]
        await entry.click()
        await expect(thread(phone).get_by_role("log")).to_contain_text("Or two.")
        await api.delete(f"/api/conversations/{group}/members/{member}/")
        await expect(phone.get_by_text("There is no such conversation")).to_be_visible()
        await phone.goto("/threads")
        await expect(phone.get_by_text("You follow no threads.")).to_be_visible()
        await context.close()


async def test_an_assistant_answers_in_two_threads_at_once(page: Page, stack: Stack) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    account = {"username": name, "password": PASSWORD}
    async with api_as(stack, "token", account) as api:
        assistants = (await api.get("/api/assistants/")).json()["results"]
        slug = assistants[0]["slug"]
        body = {"kind": "group", "title": "Work", "assistant": slug}
        group = (await api.post("/api/conversations/", json=body)).json()["id"]
        asked = {}
        for letter in "xy":
            root = await say(api, group, f"about {letter}")
            prompt, expected = plain(letter, 150)
            question = {"client_id": str(uuid4()), "content": prompt, "assistant": slug}
            answer = await api.post(f"/api/messages/{root}/thread/", json=question)
            asked[root] = (answer.json()["reply"]["id"], expected)
        # Each streams for some three seconds, and neither waits for the other.
        first, second = (reply for reply, _ in asked.values())
        both = False
        while not both:
            states = [(await api.get(f"/api/messages/{one}/")).json() for one in (first, second)]
            both = all(state["status"] == "streaming" for state in states)
            assert not any(state["status"] == "complete" for state in states) or both
        root, (_, expected) = list(asked.items())[1]
        await page.goto(f"/c/{group}/t/{root}")
        await expect(thread(page).get_by_role("log")).to_contain_text(expected)
        for reply_id, text in asked.values():
            state = (await api.get(f"/api/messages/{reply_id}/")).json()
            if reply_id == second:
                assert (state["status"], state["content"].strip()) == ("complete", text)
