"""Health of a process: alive, and able to reach the database."""

import json
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse


def database_answers() -> bool:
    """Say whether the default database answers a query now."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        connection.close()
        return False
    return True


def health_body(process: str, healthy: bool, **more: Any) -> dict[str, Any]:
    """Return what a health endpoint says, for each kind of process alike."""
    return {"status": "ok" if healthy else "unavailable", "process": process, **more}


class HealthMiddleware:
    """Answer `/health/` before host checks and sessions, as load balancers probe by address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path != "/health/":
            return self.get_response(request)
        healthy = database_answers()
        return JsonResponse(health_body("web", healthy), status=200 if healthy else 503)


def encode_health(process: str, healthy: bool) -> bytes:
    """Return the JSON body for processes that answer without Django's HTTP stack."""
    return json.dumps(health_body(process, healthy)).encode()
