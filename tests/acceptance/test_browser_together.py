"""A room as three people have it at once: two at desks and a guest with a phone."""

from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import DEADLINE, MARKS, PASSWORD, own, plain, register, say
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as
from tests.acceptance.test_browser_rooms import choose

pytestmark = MARKS

_WRITER = """
from chat.models import Assistant
Assistant.objects.get_or_create(slug="writer", defaults={"name": "Writer"})
"""


async def at_a_desk(browser: Browser, stack: Stack, address: str) -> Page:
    """Somebody else with an account of their own, who comes by a link."""
    context = await browser.new_context(base_url=stack.url)
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    await page.goto(address)
    await page.get_by_role("button", name="Join", exact=True).click()
    await expect(page.get_by_label("Message", exact=True)).to_be_visible()
    return page


async def with_a_phone(browser: Browser, stack: Stack, address: str) -> Page:
    """A guest who comes by a link."""
    context = await browser.new_context(
        base_url=stack.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    await page.goto(address)
    await page.get_by_label("Your name").fill("Gus")
    await page.get_by_role("button", name="Join as guest").click()
    await expect(page.get_by_label("Message", exact=True)).to_be_visible()
    return page


async def test_three_people_and_two_assistants_see_the_same_through_the_loss_of_ws(
    page: Page, browser: Browser, stack: Stack
) -> None:
    stack.manage("shell", "-c", _WRITER)
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    async with api_as(stack, "token", {"username": name, "password": PASSWORD}) as alice:
        body = {"kind": "group", "title": "Release", "assistant": "assistant"}
        room = (await alice.post("/api/conversations/", json=body)).json()
        address = f"/api/conversations/{room['id']}/"
        added = await alice.post(address + "members/", json={"assistant": "writer"})
        assert added.status_code == 201, added.text
        link = await alice.post(address + "invitations/", json={"guests": True})
        join = f"/join/{link.json()['token']}"
    await page.goto(f"/c/{room['id']}")
    bob, gus = await at_a_desk(browser, stack, join), await with_a_phone(browser, stack, join)
    everyone = (page, bob, gus)

    # Two assistants are named, and answer one after the other; bob stops the second.
    script, words = plain("w", 400)
    await say(page, f"@assistant and then @writer, please {script}")
    for screen in everyone:
        replies = screen.get_by_role("log").get_by_role("article", name="Assistant")
        await expect(replies).to_contain_text(" ".join(words.split()[:20]))
    stack["ws"].kill()
    stack.restart("ws")
    for screen in everyone:
        replies = screen.get_by_role("log").get_by_role("article", name="Assistant")
        await expect(replies).to_contain_text(words)
    written = bob.get_by_role("log").get_by_role("article", name="Writer")
    await expect(written).to_contain_text(" ".join(words.split()[:10]))
    await bob.get_by_role("button", name="Stop", exact=True).click()
    for screen in everyone:
        stopped = screen.get_by_role("log").get_by_role("article", name="Writer")
        await expect(stopped).to_contain_text("Stopped")
        await expect(stopped).not_to_contain_text(words.split()[-1])

    # Said on the phone, and everywhere reacted to, reworded, taken back.
    await say(gus, "Lunch at noon?")
    for screen in (page, bob):
        said = screen.get_by_role("log").get_by_role("article", name="Gus")
        await expect(said).to_contain_text("Lunch at noon?")
    said = bob.get_by_role("log").get_by_role("article", name="Gus")
    await said.hover()
    await said.get_by_role("button", name="React").click()
    picker = bob.get_by_role("dialog", name="Choose a reaction")
    await picker.get_by_role("button", name="Thumbs up").click()
    for screen in everyone:
        await expect(screen.get_by_role("button", name="Thumbs up, 1")).to_be_visible()

    mine = own(gus, "Lunch at noon?")
    await mine.get_by_role("button", name="Edit", exact=True).click()
    await gus.get_by_label("Edit message", exact=True).fill("Lunch at one?")
    await gus.get_by_role("button", name="Save").click()
    for screen in everyone:
        await expect(screen.get_by_role("log")).to_contain_text("Lunch at one?")
        await expect(screen.get_by_role("log")).not_to_contain_text("Lunch at noon?")

    mine = own(gus, "Lunch at one?")
    await mine.get_by_role("button", name="Delete", exact=True).click()
    for screen in everyone:
        await expect(screen.get_by_role("log")).not_to_contain_text("Lunch at one?")
    for screen in (bob, gus):
        await choose(screen, "Room details")
        await expect(screen.get_by_role("region", name="Members")).to_contain_text("Gus")
        await screen.context.close()
