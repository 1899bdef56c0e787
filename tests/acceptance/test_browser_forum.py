"""A forum on the page, as two people see it."""

import os
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import DEADLINE, MARKS, PASSWORD, register, say
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS
# Where to leave pictures of the page for whoever wants to look at it.
PICTURES = os.environ.get("PICTURES")


async def picture(page: Page, name: str) -> None:
    """Take pictures, wide and narrow, light and dark, if somebody asked for them."""
    if not PICTURES:
        return
    before = page.viewport_size
    for width, height in ((1280, 800), (390, 844)):
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.wait_for_timeout(300)
            path = Path(PICTURES) / f"forum-{name}-{width}-{scheme}.png"
            await page.screenshot(path=path)
    await page.emulate_media(color_scheme="light")
    if before:
        await page.set_viewport_size(before)


async def test_a_topic_is_asked_answered_voted_for_and_accepted_and_the_other_sees_it_live(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    await page.get_by_role("button", name="New room").click()
    await page.get_by_role("radio", name="Forum").check()
    await page.get_by_label("Name").fill("Help")
    await page.get_by_role("button", name="Create room").click()
    await expect(page.get_by_text("Nobody has asked anything yet")).to_be_visible()
    await picture(page, "empty")
    forum = page.url.rsplit("/", 1)[1]

    context = await browser.new_context(base_url=stack.url)
    other = await context.new_page()
    other.set_default_timeout(DEADLINE)
    asker = await register(other)
    await expect(other.get_by_role("link", name="New chat")).to_be_visible()
    async with (
        api_as(stack, "token", {"username": name, "password": PASSWORD}) as alice,
        api_as(stack, "token", {"username": asker, "password": PASSWORD}) as bob,
    ):
        person = (await bob.get("/api/me/")).json()["id"]
        added = await alice.post(f"/api/conversations/{forum}/members/", json={"user": person})
        assert added.status_code == 201

    # Bob asks, with a look at what it will be like.
    await other.goto(f"/c/{forum}")
    await other.get_by_role("button", name="New topic").click()
    await other.get_by_label("Title").fill("How do I start it?")
    await other.get_by_label("Text", exact=True).last.fill("I have **no** idea.")
    await other.get_by_role("tab", name="Preview").click()
    preview = other.get_by_role("region", name="Preview")
    await expect(preview.locator("strong")).to_have_text("no")
    await other.get_by_label("Tags").fill("Start, make")
    await picture(other, "new-topic")
    await other.get_by_role("button", name="Begin topic").click()
    await expect(other.get_by_role("log").locator("strong")).to_have_text("no")

    # Alice sees it without doing anything, and answers.
    await expect(page.get_by_role("link", name="How do I start it?", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="with the tag make")).to_be_visible()
    await page.get_by_role("link", name="How do I start it?", exact=True).click()
    await say(page, "Say `make up`.")
    answers = other.get_by_role("log")
    await expect(answers.locator("code")).to_have_text("make up")

    # A vote is counted for both, once.
    vote = page.get_by_role("button", name="Vote for this question")
    await vote.click()
    seen = other.get_by_role("button", name="Vote for this question, 1 vote")
    await expect(seen).to_have_attribute("aria-pressed", "false")
    await expect(vote).to_have_attribute("aria-pressed", "true")

    # Bob accepts the answer: it is with the question, for Alice too.
    await other.get_by_role("button", name="Accept answer").click()
    for one in (page, other):
        card = one.get_by_role("region", name="Accepted answer")
        await expect(card).to_contain_text("make up")
        await expect(one.get_by_text("Solved", exact=True)).to_be_visible()
    await picture(other, "topic")
    await other.get_by_role("button", name="Withdraw").click()
    await expect(page.get_by_role("region", name="Accepted answer")).to_have_count(0)
    await other.get_by_role("button", name="Accept answer").click()

    # Alice, who owns the forum, pins and closes it.
    await page.get_by_role("button", name="Topic menu").click()
    await page.get_by_role("menuitem", name="Pin topic").click()
    await expect(other.get_by_text("Pinned", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Topic menu").click()
    await page.get_by_role("menuitem", name="Close").click()
    await expect(other.get_by_text("This topic is closed")).to_be_visible()

    # The forum lists how it stands.
    await other.get_by_role("link", name="Help").first.click()
    topics = other.get_by_role("list", name="Topics")
    row = topics.get_by_role("listitem").filter(has_text="How do I start it?")
    await expect(row).to_contain_text("Solved")
    await expect(row).to_contain_text("1 reply")
    await expect(row).to_contain_text("1 vote")
    await picture(other, "list")
    await other.get_by_label("Show", exact=True).select_option("open")
    await expect(other.get_by_text("No topic is like that")).to_be_visible()
    await context.close()
