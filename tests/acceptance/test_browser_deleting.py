"""Deleting what one said, at the page: with second thoughts, away from the server, on leaving."""

from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import (
    MARKS,
    expect_words,
    network_of,
    own,
    plain,
    register,
    say,
    second_device,
    stored,
)
from tests.acceptance.stack import Stack

pytestmark = MARKS


async def said(page: Page) -> str:
    """Say something as someone new, and have it answered; return the user name."""
    name = await register(page)
    wanted, text = plain("a", 5)
    await say(page, f"Regretted {wanted}")
    await expect_words(page, text)
    return name


async def delete(page: Page) -> None:
    """Delete it, with some time left to take that back."""
    message = own(page, "Regretted")
    await message.hover()
    await message.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await expect(message).to_have_count(0)


async def test_a_deletion_that_is_undone_was_none(page: Page, stack: Stack) -> None:
    name = await said(page)
    await delete(page)

    await page.get_by_role("button", name="Undo").press("Enter")

    message = own(page, "Regretted")
    await expect(message).to_be_visible()
    await expect(message.get_by_role("button", name="Delete", exact=True)).to_be_focused()
    assert [row["deleted_at"] for row in await stored(stack, name, page)] == [None, None]


async def test_a_deleted_message_keeps_its_place_on_every_device(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await said(page)
    async with second_device(browser, stack, name, page.url) as other:
        await expect(own(other, "Regretted")).to_be_visible()
        await delete(page)
        # Nobody has heard of it yet.
        await expect(own(other, "Regretted")).to_be_visible()

        for device in (page, other):
            tombstone = device.get_by_text("This message was deleted.")
            await expect(tombstone).to_be_visible()
            # Where its author's messages are: to the right.
            reply = await device.get_by_role("log").locator(".prose").bounding_box()
            own_side = await tombstone.bounding_box()
            assert reply
            assert own_side
            assert own_side["x"] > reply["x"] + reply["width"] / 2
            await expect(device.get_by_role("button", name="Undo")).to_have_count(0)
        # Whoever goes by the keyboard is still there.
        await expect(page.get_by_role("article", name="deleted")).to_be_focused()
    assert (await stored(stack, name, page))[0]["content"] == ""


async def test_a_deletion_that_cannot_be_sent_is_made_on_return_and_no_longer_undone(
    page: Page, stack: Stack
) -> None:
    network = await network_of(page)
    name = await said(page)
    network.away = True
    await delete(page)

    await expect(page.get_by_text("is deleted when the connection is back")).to_be_visible()

    await expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert (await stored(stack, name, page))[0]["deleted_at"] is None
    network.away = False
    await expect(page.get_by_text("This message was deleted.")).to_be_visible()
    assert (await stored(stack, name, page))[0]["content"] == ""


async def test_whoever_leaves_the_page_has_had_second_thoughts(page: Page) -> None:
    await said(page)
    await delete(page)

    await page.reload()

    await expect(page.get_by_text("This message was deleted.")).to_be_visible()
    await expect(own(page, "Regretted")).to_have_count(0)
