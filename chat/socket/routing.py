"""Socket routes of the chat."""

from django.urls import path

from chat.socket.consumer import ChatConsumer

websocket_urlpatterns = [
    path("ws/", ChatConsumer.as_asgi()),
    path("ws/conversations/<uuid:conversation_id>/", ChatConsumer.as_asgi()),
]
