"""Who is at the other end of a socket: the ASGI middleware that reads the handshake's token.

The token is looked for in the Authorization header (mobile), the subprotocols `chatire.v1,
bearer.<token>` (browsers, which cannot set headers) and `?token=`, in this order, and never in
cookies. A refused handshake would hide its reason from browsers, so a refused socket is accepted
and closed at once: 4001 with `token_missing`, `token_invalid`, `token_expired`, `session_revoked`
or `user_inactive`; 4003 with `origin_not_allowed`; 1012 with `unavailable` while the database is
away, and with `busy`, after a `reconnect` that says when to come again, while too many come.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.db.utils import InterfaceError, OperationalError
from django.http.request import validate_host

from accounts.errors import NotSignedIn, TokenMissing
from accounts.selectors import live_session
from accounts.tokens import bearer_token, read_access_token
from chat.selectors.rooms import Greeting, greetings
from chat.socket.admission import SentBack, admission
from core.batches import Batch
from core.loops import PerLoop
from core.threads import in_thread
from protocol.events import Reconnect
from protocol.limits import HANDSHAKE_SECONDS, CloseCode

logger = structlog.get_logger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SUBPROTOCOL: Final = "chatire.v1"
_BEARER: Final = "bearer."
# Hosts that Django, too, allows while DEBUG is on and ALLOWED_HOSTS is empty.
_DEBUG_HOSTS: Final = [".localhost", "127.0.0.1", "[::1]"]


@dataclass(frozen=True, slots=True)
class SocketAuth:
    """What a verified access token says. `expires_at` is in seconds since the epoch."""

    user_id: UUID
    session_id: UUID
    expires_at: float


async def authenticate_token(token: str) -> SocketAuth:
    """Verify an access token and its session, with one query for a token that is ours.

    Raises TokenInvalid, TokenExpired, SessionRevoked or UserInactive (all NotSignedIn), and
    OperationalError or InterfaceError while the database is away.
    """
    claims = read_access_token(token)
    await in_thread(live_session, claims)
    return SocketAuth(claims.user_id, claims.session_id, claims.expires_at)


_greetings = PerLoop(lambda: Batch(greetings))


class JwtAuthMiddleware:
    """Let `application` see only sockets of known people.

    It finds `scope["user"]`, `scope["auth"]` (`SocketAuth`), what its greeting takes as
    `scope["greeting"]`, and no token or cookie anywhere in the scope; one query reads all of it,
    and for all who come while another runs. Once the socket is greeted it calls
    `scope["greeted"]`, which lets the next one in. If the client offered `chatire.v1`, accepting
    selects it.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate a socket; pass any other scope on as it is."""
        if scope["type"] != "websocket":
            await self.application(scope, receive, send)
            return
        headers = _headers(scope)
        tokens = _Tokens(headers.get("authorization"), *_take_tokens(scope))
        send = _selecting_subprotocol(scope, send)
        if not _origin_allowed(headers.get("origin")):
            await refuse(receive, send, CloseCode.NOT_ALLOWED, "origin_not_allowed")
            return
        try:
            claims = read_access_token(tokens.first())
            leave = await admission().enter()
        except NotSignedIn as error:
            await refuse(receive, send, CloseCode.AUTHENTICATE, error.code)
            return
        except SentBack as error:
            await _send_back(receive, send, error.after_ms)
            return
        try:
            try:
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    begun = await _greetings().get(claims)
            except (OperationalError, InterfaceError, TimeoutError):
                await refuse(receive, send, CloseCode.RESTARTING, "unavailable")
                return
            if not isinstance(begun, Greeting):
                await refuse(receive, send, CloseCode.AUTHENTICATE, begun.code)
                return
            scope["auth"] = SocketAuth(claims.user_id, claims.session_id, claims.expires_at)
            scope["user"], scope["greeting"], scope["greeted"] = begun.user, begun, leave
            await self.application(scope, receive, send)
        finally:
            leave()


@dataclass(frozen=True, slots=True, repr=False)
class _Tokens:
    """The places a handshake may carry a token in, best first. Kept out of every repr."""

    authorization: str | None
    subprotocol: str | None
    query: str | None

    def first(self) -> str:
        """Return the token to judge by; a bad one in a better place is not made up for."""
        if self.authorization is not None:
            token = bearer_token(self.authorization)
            if token is not None:
                return token
        token = self.subprotocol if self.subprotocol is not None else self.query
        if not token:
            raise TokenMissing
        return token


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; of a repeated one, the first."""
    headers: dict[str, str] = {}
    for name, value in scope.get("headers", ()):
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def _take_tokens(scope: Scope) -> tuple[str | None, str | None]:
    """Remove what is secret from `scope`; return the subprotocol's token and the query's.

    In place: Uvicorn logs the very query string of this scope when a socket is accepted.
    """
    offered: list[str] = scope.get("subprotocols") or []
    borne = [name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)]
    scope["subprotocols"] = [name for name in offered if not name.startswith(_BEARER)]
    secret_headers = {b"authorization", b"cookie", b"sec-websocket-protocol"}
    scope["headers"] = [
        (name, value) for name, value in scope["headers"] if name.lower() not in secret_headers
    ]
    asked, kept = [], []
    for part in scope.get("query_string", b"").split(b"&"):
        name, _, value = part.decode("latin-1").partition("=")
        if unquote_plus(name) == "token":
            asked.append(unquote_plus(value))
        else:
            kept.append(part)
    scope["query_string"] = b"&".join(kept)
    return (borne[0] if borne else None), (asked[0] if asked else None)


def _origin_allowed(origin: str | None) -> bool:
    """Say whether a page from `origin` may open sockets; only browsers send one."""
    if origin is None or origin in settings.ALLOWED_ORIGINS:
        return True
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    if not host:
        return False
    hosts = settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else [])
    # ALLOWED_HOSTS writes an IPv6 address in brackets; urlsplit does not.
    return validate_host(f"[{host}]" if ":" in host else host, hosts)


def _selecting_subprotocol(scope: Scope, send: Send) -> Send:
    """Return a `send` that accepts with our subprotocol where the client offered it.

    A browser that offered some and is given none fails the connection.
    """
    if SUBPROTOCOL not in scope["subprotocols"]:
        return send

    async def send_selecting(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            message = {**message, "subprotocol": SUBPROTOCOL}
        await send(message)

    return send_selecting


async def _send_back(receive: Receive, send: Send, after_ms: int) -> None:
    """Ask a client to come again later, as one that is sent away by a server that stops."""
    logger.info("socket_sent_back", after_ms=after_ms)
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": Reconnect(after_ms=after_ms).model_dump_json()})
    await send({"type": "websocket.close", "code": int(CloseCode.RESTARTING), "reason": "busy"})


async def refuse(receive: Receive, send: Send, code: CloseCode, reason: str) -> None:
    """Accept a socket and close it at once, so that a browser, too, is told why."""
    logger.info("socket_refused", close_code=int(code), reason=reason)
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": int(code), "reason": reason})
