"""The single-page application's page, and what it must know before anyone signs in."""

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import split_domain_port
from django.views.decorators.http import require_safe

from core.version import VERSION

_NOT_BUILT = (
    "<!doctype html><title>Chatire</title><p>The application is not built. "
    "Run <code>make up</code>, or <code>npm run build</code> in <code>frontend/</code>."
)


@require_safe
def app_page(request: HttpRequest) -> HttpResponseBase:
    """Serve the application's index page, never cached: it names the hashed assets."""
    index = settings.FRONTEND_DIST / "index.html"
    if not index.is_file():
        return HttpResponse(_NOT_BUILT, status=503)
    response = FileResponse(index.open("rb"), content_type="text/html; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    return response


@require_safe
def client_config(request: HttpRequest) -> JsonResponse:
    """Tell a client where the socket server is and which ways in are open.

    `ws_url` is absolute; without WS_PUBLIC_URL it is the page's own host on WS_PORT.
    """
    host, _port = split_domain_port(request.get_host())
    scheme = "wss" if request.is_secure() else "ws"
    ws_url = settings.WS_PUBLIC_URL or f"{scheme}://{host}:{settings.WS_PORT}"
    return JsonResponse(
        {
            "version": VERSION,
            "ws_url": ws_url.rstrip("/"),
            "guests_allowed": settings.GUESTS_ALLOWED,
            "registration_open": settings.REGISTRATION_OPEN,
        }
    )
