"""What a person sees: the page in headless Chromium, against the real processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import (
    DEADLINE,
    MARKS,
    PASSWORD,
    expect_words,
    network_of,
    plain,
    register,
    say,
    stored,
)
from tests.acceptance.stack import Stack
from tests.fakes.script import directive

pytestmark = MARKS


@asynccontextmanager
async def api_as(stack: Stack, way: str, body: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """The REST API, as whoever signs in this way."""
    async with httpx.AsyncClient(base_url=stack.url) as client:
        answer = await client.post(f"/api/auth/{way}/", json=body)
        client.headers["Authorization"] = f"Bearer {answer.json()['access']}"
        yield client


async def test_register_chat_reload_and_find_the_whole_conversation(page: Page) -> None:
    await register(page)
    wanted, text = plain("a", 120)
    more_wanted, more = plain("b", 40)
    await say(page, f"Tell me {wanted}")

    # It grows: some of it is there long before all of it is.
    await expect(page.get_by_role("log")).to_contain_text(text[:30])
    assert text not in await page.get_by_role("log").inner_text()

    await expect_words(page, text)
    await say(page, f"And more {more_wanted}")
    await expect_words(page, more)

    address = page.url
    assert "/c/" in address
    await page.reload()
    await expect_words(page, text)
    await expect_words(page, more)
    await expect(page.get_by_role("log").get_by_text("Tell me")).to_have_count(1)
    assert page.url == address


async def test_a_reload_in_the_middle_of_a_reply_loses_none_of_it(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 200)
    await say(page, f"Go {wanted}")
    await expect(page.get_by_role("log")).to_contain_text(text[:30])

    await page.reload()

    await expect_words(page, text)


async def test_one_request_opens_the_application(page: Page, stack: Stack) -> None:
    await register(page)
    wanted, text = plain("s", 5)
    await say(page, f"Go {wanted}")
    await expect_words(page, text)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(stack.url)))

    await page.goto("/")

    conversations = page.get_by_role("navigation", name="Conversations")
    await expect(conversations.get_by_role("link")).to_contain_text("s0 s1")
    await expect(page.get_by_role("radio", name="Assistant")).to_be_checked()
    # Connected, it has asked for all that it asks for.
    await expect(page.get_by_label("Message", exact=True)).to_be_enabled()
    assert [path for path in asked if path.startswith("/api/")] == ["/api/me/changes/"]


async def test_what_others_say_is_counted_until_it_is_read_on_any_device(
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
        body = {"kind": "group", "title": "Plans", "members": [guest["id"]]}
        group = (await alice.post("/api/conversations/", json=body)).json()
        entry = page.get_by_role("navigation", name="Conversations").get_by_role("link")
        await expect(entry).to_contain_text("Plans")
        for content in ("one", "two"):
            message = {"client_id": str(uuid4()), "content": content}
            await bob.post(f"/api/conversations/{group['id']}/messages/", json=message)
        await expect(entry).to_contain_text("2 unread")
        await expect(entry).to_contain_text("two")

        await alice.post(f"/api/conversations/{group['id']}/read/", json={"number": 1})
        await expect(entry).to_contain_text("1 unread")
        await entry.click()
        await expect(page.get_by_role("log")).to_contain_text("two")
        await page.get_by_role("link", name="New chat").click()
        await expect(entry).not_to_contain_text("unread")


async def test_an_ended_session_asks_to_sign_in_again_and_keeps_the_page(
    page: Page, stack: Stack
) -> None:
    name = await register(page)
    wanted, text = plain("s", 20)
    await say(page, f"Before {wanted}")
    await expect_words(page, text)
    await page.get_by_label("Message", exact=True).fill("half a thought")

    async with httpx.AsyncClient(base_url=stack.url) as client:
        answer = await client.post(
            "/api/auth/token/", json={"username": name, "password": PASSWORD}
        )
        await client.post(
            "/api/auth/token/revoke/",
            json={"refresh": answer.json()["refresh"], "everywhere": True},
        )

    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Sign in").click()
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_label("Message", exact=True)).to_have_value("half a thought")
    wanted, text = plain("t", 20)
    await say(page, f"After {wanted}")
    await expect_words(page, text)


async def test_a_restarted_socket_server_is_found_again_and_nothing_is_missing(
    browser: Browser, start_stack: Callable[..., Stack]
) -> None:
    stack = start_stack(WS_DRAIN_SECONDS="0.2")
    context = await browser.new_context(base_url=stack.url)
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 300)
    await say(page, f"Go {wanted}")
    await expect(page.get_by_role("log")).to_contain_text(text[:30])

    await asyncio.to_thread(stack["ws"].kill)
    await asyncio.to_thread(stack.restart, "ws")

    await expect_words(page, text)
    await context.close()


async def test_a_stop_pressed_while_the_server_is_out_of_reach_is_carried_out_on_return(
    page: Page, stack: Stack
) -> None:
    network = await network_of(page)
    name = await register(page)
    pieces = [f"s{number} " for number in range(600)]
    await say(page, f"Go {directive(pieces=pieces, rate=10)}")
    await expect(page.get_by_role("log")).to_contain_text("s0 s1 s2")
    network.away = True

    await page.get_by_role("button", name="Stop", exact=True).click()

    await expect(page.get_by_text("is stopped when the connection is back")).to_be_visible()
    assert (await stored(stack, name, page))[-1]["status"] == "streaming"
    network.away = False
    await expect(page.get_by_text("Stopped.", exact=True)).to_be_visible()
    assert (await stored(stack, name, page))[-1]["status"] == "cancelled"


async def test_a_phone_has_room_for_everything(browser: Browser, stack: Stack) -> None:
    context = await browser.new_context(
        base_url=stack.url, viewport={"width": 360, "height": 740}, has_touch=True
    )
    page = await context.new_page()
    page.set_default_timeout(DEADLINE)
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 60)
    await say(page, f"Go {wanted}")
    await expect_words(page, text)

    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    await context.close()


async def test_nothing_is_fetched_from_anywhere_else(page: Page, stack: Stack) -> None:
    elsewhere: list[str] = []
    ours = (stack.url, stack.ws_url, "data:", "blob:")
    page.on(
        "request",
        lambda request: None if request.url.startswith(ours) else elsewhere.append(request.url),
    )
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 20)
    await say(page, f"Go {wanted}")
    await expect_words(page, text)
    assert elsewhere == []


async def test_markup_in_a_message_stays_text(page: Page, stack: Stack) -> None:
    """A model's and a person's text is shown, never run."""
    evil = ["<img src=x onerror=alert(1)>", " [click](javascript:alert(1)) ", "<script>alert(1)"]
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    await say(page, f"{''.join(evil)} {directive(pieces=evil)}")
    await expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    await expect(page.get_by_role("log")).to_contain_text("click")
    assert await page.locator('[role=log] img[src="x"], [role=log] script').count() == 0
    assert await page.locator('a[href^="javascript"]').count() == 0
    assert dialogs == []


async def test_a_guest_is_asked_before_signing_out_loses_every_chat(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 5)
    await say(page, f"Go {wanted}")
    await expect_words(page, text)
    menu = page.get_by_role("button", name="Your menu")
    dialog = page.get_by_role("alertdialog", name="Sign out and lose everything?")

    async def sign_out() -> None:
        await menu.click()
        await page.get_by_role("menuitem", name="Sign out").click()

    # Nothing is lost by asking, by any way back.
    await sign_out()
    await expect(dialog).to_contain_text("lost for good, unless you make an account")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_be_hidden()
    await expect(menu).to_be_focused()
    await sign_out()
    await expect(dialog.get_by_role("button", name="Make an account")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(menu).to_be_focused()
    await expect_words(page, text)

    await sign_out()
    await dialog.get_by_role("button", name="Sign out and lose it").click()

    await expect(page.get_by_role("button", name="Continue as guest")).to_be_visible()
    await page.get_by_role("button", name="Continue as guest").click()
    await expect(page.get_by_text("Your conversations will be here.")).to_be_visible()


async def test_a_guest_who_signs_out_can_make_an_account_instead(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 5)
    await say(page, f"Go {wanted}")
    await expect_words(page, text)
    await page.get_by_role("button", name="Your menu").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await page.get_by_role("button", name="Make an account").click()
    name = f"alice-{uuid4().hex[:8]}"
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect_words(page, text)

    # Whoever has an account loses nothing, and is not asked.
    address = page.url
    await page.get_by_role("button", name="Your menu").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await page.get_by_label("Username or e-mail").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    await page.goto(address)
    await expect_words(page, text)


async def test_a_dialog_from_a_menu_gives_the_focus_back_to_the_menu(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    wanted, text = plain("s", 5)
    await say(page, f"Go {wanted}")
    await expect_words(page, text)
    for button, item in (
        ("Conversation menu", "Rename"),
        ("Conversation menu", "Delete"),
        ("Your menu", "Create an account"),
    ):
        await page.get_by_role("button", name=button).click()
        await page.get_by_role("menuitem", name=item).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name=button)).to_be_focused()
