"""Socket routes."""

from channels.routing import URLRouter
from django.urls import URLPattern

websocket_urlpatterns: list[URLPattern] = []
websocket_router = URLRouter(websocket_urlpatterns)
