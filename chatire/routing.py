"""Every socket route of the installation."""

from channels.routing import URLRouter
from django.urls import re_path

from chat.socket.auth import Receive, Scope, Send, refuse
from chat.socket.routing import websocket_urlpatterns
from protocol.limits import CloseCode


async def no_such_route(scope: Scope, receive: Receive, send: Send) -> None:
    """Send away whoever comes where no route leads."""
    await refuse(receive, send, CloseCode.NO_CONVERSATION, "not_found")


websocket_router = URLRouter([*websocket_urlpatterns, re_path("", no_such_route)])  # type: ignore[arg-type]
