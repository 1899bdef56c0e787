"""Rooms on the page: made, joined by a link, found, left and archived."""

import httpx
from playwright.async_api import Browser, Page, expect

from tests.acceptance.browser import DEADLINE, MARKS, PASSWORD, register, say
from tests.acceptance.stack import Stack
from tests.acceptance.test_browser import api_as

pytestmark = MARKS


async def make_room(page: Page, name: str, access: str = "Private") -> None:
    """Make a room on the page of whoever is signed in."""
    await page.get_by_role("button", name="New room").click()
    dialog = page.get_by_role("dialog", name="New room")
    await dialog.get_by_label("Name").fill(name)
    await dialog.get_by_role("radio", name=access).check()
    await dialog.get_by_role("button", name="Create room").click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def choose(page: Page, item: str) -> None:
    """Choose something of the conversation's menu."""
    await page.get_by_role("button", name="Conversation menu").click()
    await page.get_by_role("menuitem", name=item).click()


async def test_a_stranger_comes_in_as_a_guest_by_a_link_and_talks(
    page: Page, browser: Browser, stack: Stack
) -> None:
    await register(page)
    await make_room(page, "Picnic")
    await choose(page, "Invite by link")
    dialog = page.get_by_role("dialog", name="Invite by link")
    await dialog.get_by_role("switch").click()
    await dialog.get_by_role("button", name="Make a link").click()
    await expect(dialog.get_by_label("Link", exact=True)).to_be_focused()
    link = await dialog.get_by_label("Link", exact=True).input_value()

    context = await browser.new_context(base_url=stack.url)
    stranger = await context.new_page()
    stranger.set_default_timeout(DEADLINE)
    await stranger.goto(link)
    await expect(stranger.get_by_role("heading", name="Picnic")).to_be_visible()
    await expect(stranger.get_by_text("1 person is in it.")).to_be_visible()
    await stranger.get_by_label("Your name").fill("Gus")
    await stranger.get_by_role("button", name="Join as guest").click()
    await expect(stranger.get_by_role("heading", name="Picnic")).to_be_visible()
    await say(stranger, "I bring the cake")

    await page.keyboard.press("Escape")
    said = page.get_by_role("log").get_by_role("article", name="Gus")
    await expect(said).to_contain_text("I bring the cake")

    await choose(page, "Invite by link")
    await expect(dialog.get_by_text("1 person came by it.")).to_be_visible()
    await dialog.get_by_role("button", name="End this link").click()
    await expect(dialog.get_by_role("button", name="Make a link")).to_be_visible()
    late = await browser.new_page()
    await late.goto(link)
    await expect(late.get_by_role("heading", name="This link no longer works")).to_be_visible()
    await late.close()
    await context.close()


async def test_who_signs_in_at_a_link_comes_back_to_it(
    page: Page, browser: Browser, stack: Stack
) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    async with api_as(stack, "guest", {"display_name": "Host"}) as host:
        link = await _link_of(host, "Picnic")
    context = await browser.new_context(base_url=stack.url)
    other = await context.new_page()
    other.set_default_timeout(DEADLINE)
    await other.goto(link)
    await expect(other.get_by_role("link", name="Sign in")).to_be_visible()
    await expect(other.get_by_role("button", name="Join as guest")).to_have_count(0)
    await other.get_by_role("link", name="Sign in").click()
    await other.get_by_label("Username or e-mail").fill(name)
    await other.get_by_label("Password").fill(PASSWORD)
    await other.get_by_role("button", name="Sign in", exact=True).click()
    await other.get_by_role("button", name="Join", exact=True).click()
    await expect(other.get_by_role("heading", name="Picnic")).to_be_visible()
    await expect(other.get_by_label("Message", exact=True)).to_be_visible()
    await context.close()


async def _link_of(host: httpx.AsyncClient, title: str) -> str:
    """A link into a new room, for people with an account."""
    room = {"kind": "group", "title": title}
    made = (await host.post("/api/conversations/", json=room)).json()
    address = f"/api/conversations/{made['id']}/invitations/"
    return f"/join/{(await host.post(address, json={})).json()['token']}"


async def test_an_open_room_is_found_and_joined_and_left(page: Page, stack: Stack) -> None:
    name = await register(page)
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    async with api_as(stack, "guest", {"display_name": "Host"}) as host:
        for access in ("open", "listed"):
            room = {"kind": "group", "title": f"{name} {access}", "access": access}
            await host.post("/api/conversations/", json=room)
    await page.get_by_role("link", name="Browse rooms").click()
    await page.get_by_label("Search rooms").fill(name)
    await expect(page.get_by_role("list", name="Rooms").get_by_role("listitem")).to_have_count(2)
    await page.get_by_role("button", name=f"Ask to join {name} listed").click()
    asked = page.get_by_role("button", name=f"Asked to join {name} listed")
    await expect(asked).to_be_focused()
    await page.get_by_role("button", name=f"Join {name} open").click()
    await expect(page.get_by_label("Message", exact=True)).to_be_visible()

    await choose(page, "Room details")
    members = page.get_by_role("region", name="Members").get_by_role("listitem")
    await expect(members).to_have_count(2)
    await page.get_by_label("Search members").fill("Host")
    await expect(members).to_have_count(1)
    await expect(members).to_contain_text("Owner")
    await page.get_by_role("button", name="Leave room").click()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("button", name="Leave room")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Leave", exact=True).click()
    await expect(page).to_have_url(f"{stack.url}/")
    conversations = page.get_by_role("navigation", name="Conversations")
    await expect(conversations.get_by_role("link", name=f"{name} open")).to_have_count(0)


async def test_who_asks_to_come_in_is_let_in(page: Page, stack: Stack) -> None:
    name = await register(page)
    await make_room(page, f"{name} choir", "Listed")
    account = {"username": f"bob-{name}", "password": PASSWORD}
    async with api_as(stack, "register", account) as bob:
        room = page.url.rsplit("/", 1)[1]
        await bob.post(f"/api/conversations/{room}/requests/", json={})
        await choose(page, "Room details")
        await page.get_by_role("button", name=f"Let bob-{name} in").click()
        members = page.get_by_role("region", name="Members").get_by_role("listitem")
        await expect(members).to_have_count(2)
        await expect(page.get_by_role("region", name="Asking to come in")).to_have_count(0)
        assert (await bob.get(f"/api/conversations/{room}/")).status_code == 200


async def test_an_archived_room_is_read_and_not_written_in(page: Page) -> None:
    await register(page)
    await make_room(page, "Old plans")
    await choose(page, "Room details")
    await page.get_by_role("button", name="Archive").click()
    await expect(page.get_by_role("button", name="Unarchive")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("This room is archived.")).to_be_visible()
    await expect(page.get_by_label("Message", exact=True)).to_have_count(0)


async def test_two_guests_come_by_a_link_for_two_and_are_shown_out_together(
    page: Page, browser: Browser, stack: Stack
) -> None:
    await register(page)
    await make_room(page, "Garden")
    await choose(page, "Invite by link")
    dialog = page.get_by_role("dialog", name="Invite by link")
    await dialog.get_by_role("switch").click()
    await dialog.get_by_text("More options").click()
    await dialog.get_by_label("Number of uses").fill("2")
    await dialog.get_by_role("button", name="Make a link").click()
    link = await dialog.get_by_label("Link", exact=True).input_value()
    await page.keyboard.press("Escape")

    guests = [await (await browser.new_context(base_url=stack.url)).new_page() for _ in range(3)]
    for name, guest in zip(("Gus", "Gina", "Gary"), guests, strict=True):
        guest.set_default_timeout(DEADLINE)
        await guest.goto(link)
        if name == "Gary":
            await expect(
                guest.get_by_role("heading", name="This link no longer works")
            ).to_be_visible()
            continue
        await guest.get_by_label("Your name").fill(name)
        await guest.get_by_role("button", name="Join as guest").click()
        await expect(guest.get_by_role("heading", name="Garden")).to_be_visible()

    await choose(page, "Invite by link")
    await expect(dialog.get_by_text("2 people came by it. It is used up.")).to_be_visible()
    await dialog.get_by_role("button", name="Who came by it").click()
    came = dialog.get_by_role("list", name="Came by this link").get_by_role("listitem")
    await expect(came).to_have_count(2)
    await dialog.get_by_role("button", name="Remove all of them").click()
    await dialog.get_by_role("button", name="Remove all", exact=True).click()
    for guest in guests[:2]:
        await expect(guest.get_by_label("Message", exact=True)).to_have_count(0)
    await page.keyboard.press("Escape")
    await choose(page, "Room details")
    members = page.get_by_role("region", name="Members").get_by_role("listitem")
    await expect(members).to_have_count(1)
    for guest in guests:
        await guest.context.close()


async def test_a_guest_finds_everything_in_the_account_they_have(page: Page, stack: Stack) -> None:
    account = {"username": f"gus-{stack.url[-4:]}", "password": PASSWORD}
    async with api_as(stack, "register", account):
        pass
    await page.goto("/")
    await page.get_by_role("button", name="Continue as guest").click()
    await make_room(page, "Cellar")
    await say(page, "I was a guest here")
    await page.get_by_role("button", name="Your menu").click()
    await page.get_by_role("menuitem", name="Sign in to your account").click()
    dialog = page.get_by_role("dialog", name="Sign in to your account")
    await expect(dialog.get_by_label("Keep what you did as a guest")).to_be_checked()
    await dialog.get_by_label("Username or e-mail").fill(account["username"])
    await dialog.get_by_label("Password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Sign in", exact=True).click()
    conversations = page.get_by_role("navigation", name="Conversations")
    await conversations.get_by_role("link", name="Cellar").click()
    await expect(page.get_by_role("log")).to_contain_text("I was a guest here")
    await expect(page.get_by_role("button", name="Your menu")).to_contain_text(account["username"])


async def test_an_owner_changes_a_room_and_its_people(page: Page, stack: Stack) -> None:
    name = await register(page)
    await make_room(page, f"{name} choir", "Open")
    room = page.url.rsplit("/", 1)[1]
    account = {"username": f"bob-{name}", "password": PASSWORD}
    async with api_as(stack, "register", account) as bob:
        await bob.post(f"/api/conversations/{room}/join/")
        await choose(page, "Room details")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name=f"What to do about bob-{name}").click()
        await page.get_by_role("menuitem", name="Change role…").click()
        await dialog.get_by_label(f"Role of bob-{name}").select_option("moderator")
        await dialog.get_by_role("button", name="Save").click()
        members = dialog.get_by_role("region", name="Members").get_by_role("listitem")
        await expect(members.filter(has_text=f"bob-{name}")).to_contain_text("Moderator")

        await dialog.get_by_role("tab", name="Settings").click()
        await dialog.get_by_label("Topic", exact=True).fill("Songs")
        await dialog.get_by_label("Newcomers read").select_option("joined")
        await dialog.get_by_label("Write messages: from moderator on").check(force=True)
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_text("Saved.")).to_be_visible()
        state = (await bob.get(f"/api/conversations/{room}/")).json()
        assert (state["topic_text"], state["history"]) == ("Songs", "joined")
        assert state["policy"] == {"send": "moderator"}

        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="New message").click()
        await page.get_by_label("Search people").fill(f"bob-{name}")
        await page.get_by_role("checkbox", name=f"bob-{name}").check()
        await page.get_by_role("button", name="Write", exact=True).click()
        await page.wait_for_url(lambda url: room not in url)
        await say(page, "Only you")
        first = page.url
        await page.get_by_role("button", name="New message").click()
        await page.get_by_label("Search people").fill(f"bob-{name}")
        await page.get_by_role("checkbox", name=f"bob-{name}").check()
        await page.get_by_role("button", name="Write", exact=True).click()
        await expect(page.get_by_role("log")).to_contain_text("Only you")
        assert page.url == first
