"""Every socket route of the installation."""

from channels.routing import URLRouter

from chat.socket.routing import websocket_urlpatterns

websocket_router = URLRouter(websocket_urlpatterns)
