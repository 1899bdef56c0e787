"""The `ws` process: sockets and its own health, under Uvicorn."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatire.settings")
# Loads the apps, which everything imported below needs.
get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402

from chat.socket.auth import JwtAuthMiddleware  # noqa: E402
from chatire.lifespan import http, lifespan  # noqa: E402
from chatire.routing import websocket_router  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "lifespan": lifespan,
        "websocket": JwtAuthMiddleware(websocket_router),
    }
)
