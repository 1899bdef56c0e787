"""Editing into branches and letting replies go on, at the page, on one device and on two."""

from uuid import uuid4

import httpx
from playwright.async_api import Browser, Locator, Page, WebSocketRoute, expect

from tests.acceptance.browser import (
    MARKS,
    PASSWORD,
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
from tests.fakes.script import directive

pytestmark = MARKS

# Every text that the last reply has shown, as often as the page changed it.
WATCH = """() => {
    const log = document.querySelector('[role=log]');
    window.shownTexts = [];
    new MutationObserver(() => {
        const text = [...log.querySelectorAll('.prose')].at(-1)?.innerText.trim() ?? '';
        if (text !== window.shownTexts.at(-1)) window.shownTexts.push(text);
    }).observe(log, {childList: true, subtree: true, characterData: true});
}"""


def last_reply(page: Page) -> Locator:
    """The text of the last reply shown."""
    return page.get_by_role("log").locator(".prose").last


def editor(page: Page) -> Locator:
    """Where a message is reworded."""
    return page.get_by_label("Edit message", exact=True)


async def begin_to_reword(page: Page, text: str, wording: str) -> None:
    """Edit what was said, and do not save it yet."""
    message = own(page, text)
    await message.hover()
    await message.get_by_role("button", name="Edit", exact=True).click()
    await expect(editor(page)).to_be_focused()
    await editor(page).fill(wording)


async def reword(page: Page, text: str, wording: str) -> None:
    """Edit what was said and save it."""
    await begin_to_reword(page, text, wording)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(editor(page)).to_have_count(0)


async def stop_in_the_middle(page: Page, letter: str) -> str:
    """Ask for a long reply and stop it; return its text."""
    wanted, text = plain(letter, 200)
    await say(page, f"Go {wanted}")
    await expect(last_reply(page)).to_contain_text(text[:30])
    await page.get_by_role("button", name="Stop", exact=True).click()
    await expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
    said = (await last_reply(page).inner_text()).strip()
    assert text.startswith(said)
    assert said != text
    return said


async def expect_whole(page: Page) -> None:
    """Wait until the last reply has ended, and needs not go on."""
    await expect(page.get_by_role("button", name="Continue", exact=True)).to_have_count(0)
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    await expect(page.get_by_role("button", name="Regenerate")).to_be_visible()


async def test_an_edit_begins_a_branch_and_the_old_one_is_kept(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    wanted, first = plain("a", 10)
    await say(page, f"First {wanted}")
    await expect_words(page, first)
    wanted, old = plain("b", 20)
    await say(page, f"Second {wanted}")
    await expect_words(page, old)

    async with second_device(browser, stack, name, page.url) as other:
        await expect_words(other, old)
        wanted, new = plain("c", 100)
        await reword(page, "Second", f"Reworded {wanted}")

        # It grows on both, where the old wording was.
        for device in (page, other):
            await expect(last_reply(device)).to_contain_text(new[:20])
        for device in (page, other):
            await expect_words(device, first)
            await expect_words(device, new)
            await expect(own(device, "Reworded")).to_contain_text("2 / 2")
            await expect(own(device, "Second")).to_have_count(0)
            assert (await last_reply(device).inner_text()).strip() == new

        # There and back again, on this device alone.
        await page.get_by_role("button", name="Earlier wording").click()
        await expect_words(page, old)
        await expect(own(page, "Second")).to_contain_text("1 / 2")
        await expect(page.get_by_role("log")).not_to_contain_text(new[:20])
        await expect_words(other, new)
        await page.get_by_role("button", name="Later wording").click()
        await expect_words(page, new)
        await expect(page.get_by_role("log")).not_to_contain_text(old[:20])

        # A reload shows the newest, whatever had been chosen.
        await page.get_by_role("button", name="Earlier wording").click()
        await expect_words(page, old)
        await page.reload()
        await expect_words(page, new)

        # What is said now is said where one is, and takes the other device along.
        await page.get_by_role("button", name="Earlier wording").click()
        wanted, third = plain("d", 20)
        await say(page, f"Third {wanted}")
        for device in (page, other):
            await expect_words(device, third)
            await expect_words(device, old)
            await expect(device.get_by_role("log")).not_to_contain_text(new[:20])

    rows = {row["content"].split(" ")[0]: row for row in await stored(stack, name, page)}
    assert rows["Reworded"]["parent"] == rows["Second"]["parent"] == rows["a0"]["id"]
    assert rows["Third"]["parent"] == rows["b0"]["id"]


async def test_editing_while_the_reply_streams_stops_that_reply(page: Page) -> None:
    await register(page)
    wanted, old = plain("s", 400)
    await say(page, f"Go {wanted}")
    await expect(last_reply(page)).to_contain_text(old[:30])

    wanted, new = plain("t", 30)
    await reword(page, "Go", f"No, {wanted}")

    await expect_words(page, new)
    await expect(page.get_by_role("log")).not_to_contain_text(old[:30])
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Earlier wording").click()
    await expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
    said = (await last_reply(page).inner_text()).strip()
    assert old.startswith(said)
    assert said not in ("", old)


async def test_a_stopped_reply_goes_on_and_its_text_never_vanishes(
    page: Page, stack: Stack
) -> None:
    name = await register(page)
    said = await stop_in_the_middle(page, "s")

    await page.evaluate(WATCH)
    await page.get_by_role("button", name="Continue", exact=True).click()
    await expect_whole(page)

    shown = await page.evaluate("window.shownTexts")
    assert len(shown) > 10
    for before, after in zip([said, *shown], shown, strict=False):
        assert after.startswith(before)
    reply = (await stored(stack, name, page))[-1]
    assert reply["status"] == "complete"
    assert (await last_reply(page).inner_text()).strip() == reply["content"].strip()
    await expect(page.get_by_text("Stopped.", exact=True)).to_have_count(0)


async def test_a_reply_stopped_on_one_device_goes_on_from_another(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    said = await stop_in_the_middle(page, "s")
    async with second_device(browser, stack, name, page.url) as other:
        await expect(last_reply(other)).to_have_text(said)
        await page.evaluate(WATCH)
        await other.get_by_role("button", name="Continue", exact=True).click()
        # While it grows it can be stopped, and go on once more.
        await expect(last_reply(page)).not_to_have_text(said)
        await page.get_by_role("button", name="Stop", exact=True).click()
        await page.get_by_role("button", name="Continue", exact=True).click()
        for device in (page, other):
            await expect_whole(device)
        reply = (await stored(stack, name, page))[-1]
        for device in (page, other):
            assert (await last_reply(device).inner_text()).strip() == reply["content"].strip()
        shown = await page.evaluate("window.shownTexts")
        assert all(text.startswith(said) for text in shown)


async def test_an_edit_that_cannot_be_sent_is_made_on_return(page: Page) -> None:
    network = await network_of(page)
    await register(page)
    wanted, old = plain("a", 10)
    await say(page, f"First {wanted}")
    await expect_words(page, old)
    wanted, new = plain("b", 10)
    network.away = True
    await begin_to_reword(page, "First", f"Reworded {wanted}")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Not saved.")).to_be_visible()
    await expect(editor(page)).to_have_value(f"Reworded {wanted}")

    network.away = False

    await expect_words(page, new)
    await expect(own(page, "Reworded")).to_contain_text("2 / 2")


async def test_an_edit_that_cannot_be_sent_is_made_after_a_reload_too(page: Page) -> None:
    network = await network_of(page)
    await register(page)
    wanted, old = plain("a", 10)
    await say(page, f"First {wanted}")
    await expect_words(page, old)
    wanted, new = plain("b", 10)
    network.away = True
    await begin_to_reword(page, "First", f"Reworded {wanted}")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Not saved.")).to_be_visible()

    await page.reload()
    network.away = False

    await expect_words(page, new)
    await expect(own(page, "Reworded")).to_contain_text("2 / 2")


async def test_an_edit_whose_answer_is_lost_is_made_once(page: Page) -> None:
    await register(page)
    wanted, old = plain("a", 10)
    await say(page, f"First {wanted}")
    await expect_words(page, old)
    lost: list[str] = []

    async def socket(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def to_server(frame: str | bytes) -> None:
            server.send(frame)
            if not lost and "message.edit" in str(frame):
                lost.append(str(frame))

        async def to_page(frame: str | bytes) -> None:
            # It has been carried out; the connection is lost before anyone hears of it.
            if len(lost) == 1:
                lost.append("connection")
                await route.close(code=1012)
            else:
                route.send(frame)

        route.on_message(to_server)
        server.on_message(to_page)

    await page.route_web_socket("**/ws/", socket)
    await page.reload()
    await expect_words(page, old)
    wanted, new = plain("b", 10)
    await reword(page, "First", f"Reworded {wanted}")

    await expect_words(page, new)
    assert len(lost) == 2
    await expect(own(page, "Reworded")).to_contain_text("2 / 2")


async def test_in_a_group_an_edited_message_says_so(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    async with httpx.AsyncClient(base_url=stack.url) as client:
        answer = await client.post(
            "/api/auth/token/", json={"username": name, "password": PASSWORD}
        )
        client.headers["Authorization"] = f"Bearer {answer.json()['access']}"
        body = {"kind": "group", "title": f"Group {uuid4().hex[:6]}"}
        group = (await client.post("/api/conversations/", json=body)).json()
    await page.goto(f"/c/{group['id']}")
    await say(page, "Tomorow at ten")
    await expect(own(page, "Tomorow")).to_be_visible()
    async with second_device(browser, stack, name, page.url) as other:
        await expect(own(other, "Tomorow")).to_be_visible()
        # The arrow upwards takes up the last message.
        await page.get_by_label("Message", exact=True).press("ArrowUp")
        await expect(editor(page)).to_be_focused()
        await editor(page).fill("Tomorrow at ten")
        await editor(page).press("Enter")
        for device in (page, other):
            await expect(own(device, "Tomorrow at ten")).to_contain_text("edited")
            await expect(own(device, "Tomorow")).to_have_count(0)
            await expect(device.get_by_role("button", name="Earlier wording")).to_have_count(0)


async def test_branches_are_made_and_chosen_by_the_keyboard_alone(page: Page) -> None:
    await register(page)
    wanted, old = plain("a", 5)
    await say(page, f"First {wanted}")
    await expect_words(page, old)
    wanted, new = plain("b", 5)
    await reword(page, "First", f"Reworded {wanted}")
    await expect_words(page, new)
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()

    await page.get_by_role("button", name="Earlier wording").focus()
    await page.keyboard.press("Enter")
    await expect_words(page, old)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect_words(page, new)
    await expect(page.get_by_role("button", name="Later wording")).to_be_focused()

    # Back over the pager to the pencil, and out again with nothing changed.
    for _ in range(2):
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(editor(page)).to_be_focused()
    await page.keyboard.type(" and this")
    await page.keyboard.press("Escape")
    await expect(own(page, "Reworded")).not_to_contain_text("and this")
    await expect(page.get_by_role("button", name="Edit", exact=True)).to_be_focused()


async def test_a_shorter_branch_has_its_end_in_view(page: Page, stack: Stack) -> None:
    await register(page)
    paragraphs = [f"p{number}\n\n" for number in range(80)]
    await say(page, f"Long {directive(pieces=paragraphs, rate=0)}")
    await expect(page.get_by_text("p79", exact=True)).to_be_visible()
    await own(page, "Long").scroll_into_view_if_needed()
    newest = page.get_by_role("button", name="Jump to newest")
    await expect(newest).to_be_visible()
    wanted, text = plain("s", 3)
    await reword(page, "Long", f"Short {wanted}")
    await expect_words(page, text)
    await expect(newest).to_have_count(0)
    # Whoever is at the end goes along with it.
    await say(page, f"Again {directive(pieces=paragraphs, rate=200)}")
    await expect(page.get_by_text("p79", exact=True)).to_be_in_viewport()
