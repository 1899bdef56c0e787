"""The HTTP surface: REST under /api/, the admin, and the single-page application."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerView,
)

from chatire.documents import asyncapi_json, asyncapi_yaml, websocket_page
from chatire.pages import app_page, client_config

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/config/", client_config, name="client-config"),
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[]), name="schema"),
    path(
        "api/docs/",
        SpectacularSwaggerView.as_view(url_name="schema", permission_classes=[]),
        name="docs",
    ),
    path(
        "api/redoc/",
        SpectacularRedocView.as_view(url_name="schema", permission_classes=[]),
        name="redoc",
    ),
    path("api/docs/websocket/", websocket_page, name="websocket-docs"),
    path("api/asyncapi.json", asyncapi_json, name="asyncapi-json"),
    path("api/asyncapi.yaml", asyncapi_yaml, name="asyncapi-yaml"),
    path("api/", include("accounts.rest.urls")),
    path("api/", include("chat.rest.urls")),
    path("api/", include("notifications.rest.urls")),
    # Every other page is the application's own, whose router reads the path.
    re_path(r"^(?!api/|admin/|static/|assets/|ws/|metrics/?$).*$", app_page, name="app"),
]

handler404 = "core.errors.no_such_page"
