"""Who a socket lets in, and how it says no."""

import asyncio
import json
import logging
import uuid
from socket import create_server

import pytest
import uvicorn
from asgiref.testing import ApplicationCommunicator
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import OperationalError
from websockets.asyncio.client import connect

from accounts import services
from accounts.errors import SessionRevoked, TokenExpired, TokenInvalid, UserInactive
from accounts.tokens import new_access_token
from chat.socket import auth
from chat.socket.auth import JwtAuthMiddleware, SocketAuth, authenticate_token
from core import threads
from core.batches import Batch


class Echo(AsyncJsonWebsocketConsumer):
    """Accepts, and tells what it was given."""

    scopes = []

    async def connect(self):
        self.scopes.append(self.scope)
        await self.accept()
        await self.send_json(
            {
                "user": str(self.scope["user"].id),
                "session": str(self.scope["auth"].session_id),
                "expires_at": self.scope["auth"].expires_at,
                "query": self.scope["query_string"].decode(),
            }
        )


@pytest.fixture
def tokens(transactional_db, alice):
    """Committed, since the middleware reads on a connection of its own."""
    return services.open_session(user=alice)


@pytest.fixture
def scopes():
    Echo.scopes.clear()
    return Echo.scopes


class Client(ApplicationCommunicator):
    """A socket of the middleware before `Echo`. Channels' own client wants daphne installed."""

    async def connect(self):
        """Return the subprotocol the server selected."""
        await self.send_input({"type": "websocket.connect"})
        accepted = await self.receive_output(timeout=10)
        assert accepted["type"] == "websocket.accept", "a refused handshake hides its reason"
        return accepted.get("subprotocol")

    async def disconnect(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(timeout=10)


def client(path="/ws/", headers=(), subprotocols=()):
    path, _, query = path.partition("?")
    offer = ", ".join(subprotocols).encode()
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": query.encode(),
        "headers": [*headers, *([(b"sec-websocket-protocol", offer)] if offer else [])],
        "subprotocols": list(subprotocols),
    }
    return Client(JwtAuthMiddleware(Echo.as_asgi()), scope)


def bearer(token):
    return [(b"authorization", f"Bearer {token}".encode())]


async def let_in(socket):
    """Return the subprotocol that was accepted, and what the consumer was given."""
    subprotocol = await socket.connect()
    given = json.loads((await socket.receive_output(timeout=10))["text"])
    await socket.disconnect()
    return subprotocol, given


async def refused(socket):
    """Return the code and reason of a socket that is accepted and closed at once."""
    await socket.connect()
    closed = await socket.receive_output(timeout=10)
    assert closed["type"] == "websocket.close"
    await socket.wait(timeout=10)
    return closed["code"], closed["reason"]


# --- Where the token may be


async def test_mobile_client_sends_a_header(alice, tokens):
    subprotocol, given = await let_in(client(headers=bearer(tokens.access)))
    assert subprotocol is None
    assert given["user"] == str(alice.id)
    assert given["session"] == str(tokens.session.id)
    assert given["expires_at"] == tokens.access_expires_at.timestamp()


async def test_browser_sends_a_subprotocol_and_gets_ours(alice, tokens):
    offered = ["chatire.v1", f"bearer.{tokens.access}"]
    subprotocol, given = await let_in(client(subprotocols=offered))
    assert subprotocol == "chatire.v1"
    assert given["user"] == str(alice.id)


async def test_simple_client_sends_a_query_parameter(alice, tokens):
    path = f"/ws/?assistant=ada&token={tokens.access}&language=de"
    _, given = await let_in(client(path))
    assert given["user"] == str(alice.id)
    assert given["query"] == "assistant=ada&language=de"


async def test_header_goes_before_subprotocol_before_query(
    transactional_db, alice, bob, charlie, token_for
):
    a, b, c = [await threads.in_thread(token_for, user) for user in (alice, bob, charlie)]
    both = ["chatire.v1", f"bearer.{b}"]
    _, given = await let_in(client(f"/ws/?token={c}", bearer(a), both))
    assert given["user"] == str(alice.id)
    _, given = await let_in(client(f"/ws/?token={c}", subprotocols=both))
    assert given["user"] == str(bob.id)


async def test_bad_token_in_a_better_place_is_not_made_up_for(tokens):
    socket = client(f"/ws/?token={tokens.access}", bearer("nonsense"))
    assert await refused(socket) == (4001, "token_invalid")


async def test_other_authorization_schemes_are_passed_over(alice, tokens):
    headers = [(b"authorization", b"Basic YWxpY2U6eA==")]
    _, given = await let_in(client(f"/ws/?token={tokens.access}", headers))
    assert given["user"] == str(alice.id)


async def test_cookies_are_never_used(tokens):
    cookies = f"access={tokens.access}; token={tokens.access}; sessionid=x".encode()
    assert await refused(client(headers=[(b"cookie", cookies)])) == (4001, "token_missing")


# --- Refusals


async def test_no_token_is_refused():
    assert await refused(client()) == (4001, "token_missing")


@pytest.mark.parametrize("path", ["/ws/?token=", "/ws/?tokens=x", "/ws/?x=token"])
async def test_empty_token_is_a_missing_one(path):
    assert await refused(client(path)) == (4001, "token_missing")


@pytest.mark.parametrize("token", ["x", "a.b.c", "%00", "%ff", "%F0%9F%98%80", "a" * 5000])
async def test_malformed_token_is_refused(token):
    assert await refused(client(f"/ws/?token={token}")) == (4001, "token_invalid")


@pytest.mark.parametrize("header", [b"Bearer", b"Bearer a b", b"Bearer \xff\xfe"])
async def test_malformed_header_is_refused(header):
    socket = client(headers=[(b"authorization", header)])
    assert await refused(socket) == (4001, "token_invalid")


async def test_expired_token_says_so(tokens):
    token = new_access_token(tokens.session)
    token["exp"] = 1
    assert await refused(client(f"/ws/?token={token}")) == (4001, "token_expired")


async def test_refresh_token_opens_no_socket(tokens):
    assert await refused(client(f"/ws/?token={tokens.refresh}")) == (4001, "token_invalid")


async def test_revoked_session_opens_no_socket(alice, tokens):
    await threads.in_thread(services.revoke_all, user=alice)
    assert await refused(client(headers=bearer(tokens.access))) == (4001, "session_revoked")


async def test_deactivated_person_opens_no_socket(alice, tokens):
    await threads.in_thread(services.deactivate_user, user=alice)
    assert await refused(client(headers=bearer(tokens.access))) == (4001, "user_inactive")


async def test_refusal_of_a_browser_selects_our_subprotocol_too():
    socket = client(subprotocols=["chatire.v1", "bearer.nonsense"])
    assert await socket.connect() == "chatire.v1"
    closed = await socket.receive_output(timeout=10)
    assert (closed["code"], closed["reason"]) == (4001, "token_invalid")


async def test_database_away_asks_to_come_back_not_to_sign_in(tokens, monkeypatch):
    def lost(claims):
        raise OperationalError("gone")

    monkeypatch.setattr(auth, "_greetings", lambda: Batch(lost))
    assert await refused(client(headers=bearer(tokens.access))) == (1012, "unavailable")


async def test_token_that_is_not_ours_costs_no_query(monkeypatch):
    asked = []
    monkeypatch.setattr(auth, "_greetings", lambda: Batch(asked.append))
    await refused(client("/ws/?token=a.b.c"))
    assert asked == []


# --- Origins


@pytest.mark.parametrize(
    "origin",
    [
        "https://chat.example.org",
        "http://chat.example.org:8000",
        "https://CHAT.example.org",
        "http://[::1]:8000",
        "https://a.wild.example.org",
        "https://partner.example:8443",
    ],
)
async def test_page_of_our_own_host_may_open_a_socket(tokens, settings, origin):
    settings.ALLOWED_HOSTS = ["chat.example.org", "[::1]", ".wild.example.org"]
    settings.ALLOWED_ORIGINS = ["https://partner.example:8443"]
    headers = [*bearer(tokens.access), (b"origin", origin.encode())]
    await let_in(client(headers=headers))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://chat.example.org.evil.example",
        "https://evil.example/chat.example.org",
        "https://chat.example.org@evil.example",
        "http://partner.example:8443",
        "https://partner.example",
        "null",
        "",
        "http://[",
    ],
)
async def test_page_of_another_host_may_not(settings, origin):
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    settings.ALLOWED_ORIGINS = ["https://partner.example:8443"]
    headers = [*bearer("whatever"), (b"origin", origin.encode())]
    assert await refused(client(headers=headers)) == (4003, "origin_not_allowed")


# --- Renewal


async def test_token_authenticates_to_what_it_says(alice, tokens):
    given = await authenticate_token(tokens.access)
    assert given == SocketAuth(alice.id, tokens.session.id, tokens.access_expires_at.timestamp())
    assert isinstance(given.expires_at, float)


async def test_token_that_does_not_authenticate_raises_why(alice, tokens):
    with pytest.raises(TokenInvalid):
        await authenticate_token("nonsense")
    expired = new_access_token(tokens.session)
    expired["exp"] = 1
    with pytest.raises(TokenExpired):
        await authenticate_token(str(expired))
    stranger = new_access_token(tokens.session)
    stranger["sid"] = str(uuid.uuid4())
    with pytest.raises(SessionRevoked):
        await authenticate_token(str(stranger))
    await threads.in_thread(services.deactivate_user, user=alice)
    with pytest.raises(UserInactive):
        await authenticate_token(tokens.access)


async def test_many_handshakes_are_judged_at_once(tokens):
    async with asyncio.timeout(20):
        given = await asyncio.gather(*(authenticate_token(tokens.access) for _ in range(50)))
    assert len(set(given)) == 1


# --- Secrets


async def test_no_secret_is_left_in_the_scope(tokens, scopes):
    secret = tokens.access
    socket = client(
        f"/ws/?token={secret}&a=1&tok%65n={secret}",
        [*bearer(secret), (b"cookie", b"sessionid=hush"), (b"user-agent", b"test")],
        ["chatire.v1", f"bearer.{secret}"],
    )
    await let_in(socket)
    (scope,) = scopes
    assert secret not in repr(scope)
    assert "hush" not in repr(scope)
    assert scope["query_string"] == b"a=1"
    assert scope["subprotocols"] == ["chatire.v1"]
    assert dict(scope["headers"])[b"user-agent"] == b"test"


async def test_server_finds_no_token_in_its_own_scope_when_it_logs(tokens):
    """Uvicorn logs the query string of the scope it made, whatever its access log's setting."""
    socket = client(f"/ws/?token={tokens.access}")
    await socket.connect()
    assert tokens.access not in repr(socket.scope)
    await socket.disconnect()


@pytest.fixture
async def server():
    """The middleware under Uvicorn, as the `ws` process runs it; gives its address."""
    config = uvicorn.Config(
        JwtAuthMiddleware(Echo.as_asgi()),
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    with create_server(("127.0.0.1", 0)) as listener:
        running = uvicorn.Server(config)
        serving = asyncio.ensure_future(running.serve(sockets=[listener]))
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        running.should_exit = True
        async with asyncio.timeout(10):
            await serving


async def test_real_server_tells_the_reason_and_logs_no_token(server, tokens, caplog):
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger="uvicorn.error")
    async with asyncio.timeout(10):
        async with connect(f"ws://{server}/ws/?token={tokens.access}&a=1") as let_in:
            assert json.loads(await let_in.recv())["query"] == "a=1"
        offered = ["chatire.v1", f"bearer.{tokens.refresh}"]
        async with connect(f"ws://{server}/ws/", subprotocols=offered) as refused:
            assert refused.subprotocol == "chatire.v1"
            await refused.wait_closed()
    assert (refused.close_code, refused.close_reason) == (4001, "token_invalid")
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "/ws/?a=1" in logged, "Uvicorn no longer logs accepted sockets: this test tests nothing"
    assert tokens.access not in logged
    assert tokens.refresh not in logged


async def test_no_token_is_logged(alice, tokens, api, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    forged = f"{tokens.access}x"
    for token in (tokens.access, forged):
        for socket in (
            client(f"/ws/?token={token}"),
            client(headers=bearer(token)),
            client(subprotocols=["chatire.v1", f"bearer.{token}"]),
        ):
            await socket.connect()
            await socket.receive_output(timeout=10)
            await socket.disconnect()

    def over_rest():
        rest = api()
        rest.get("/api/me/", headers={"Authorization": f"Bearer {tokens.access}"})
        rest.get("/api/me/", headers={"Authorization": f"Bearer {forged}"})
        fresh = rest.post("/api/auth/token/refresh/", {"refresh": tokens.refresh}).json()
        rest.post("/api/auth/token/revoke/", {"refresh": fresh["refresh"]})
        rest.post("/api/auth/token/", {"username": "alice", "password": "hush-hush-hush"})
        return [fresh["access"], fresh["refresh"]]

    made = await threads.in_thread(over_rest)
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "socket_refused" in logged
    for secret in (tokens.access, tokens.refresh, "hush-hush-hush", *made):
        assert secret not in logged
        assert json.dumps(secret) not in logged


async def test_other_scopes_pass_untouched():
    seen = []

    async def application(scope, receive, send):
        seen.append(scope)

    scope = {"type": "http", "query_string": b"token=x"}
    await JwtAuthMiddleware(application)(scope, None, None)
    assert seen == [scope]
    assert seen[0] == {"type": "http", "query_string": b"token=x"}
