"""`/health/` and `/metrics` of the worker, on a port of its own."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core.health import health_body

# What a health check found: whether all is well, and details for whoever reads it.
Health = tuple[bool, dict[str, Any]]
_REQUEST_SECONDS = 5.0
_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


async def serve_probe(
    port: int,
    health: Callable[[], Awaitable[Health]],
    *,
    host: str,
) -> asyncio.Server:
    """Serve both, and return the server. Port 0 picks a free one. Raises OSError if it is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await _respond(request, health)
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {kind}\r\n"
                    f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A prober that goes away in the middle gets no answer.
            return
        finally:
            writer.close()

    return await asyncio.start_server(answer, host, port)


async def _respond(
    request: bytes, health: Callable[[], Awaitable[Health]]
) -> tuple[int, str, bytes]:
    path = request.split(b" ", 2)[1].decode("latin-1") if request.count(b" ") > 1 else ""
    if path.split("?")[0] == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    if path.split("?")[0] in ("/health/", "/health"):
        healthy, details = await health()
        body = health_body("worker", healthy, **details)
        return 200 if healthy else 503, "application/json", json.dumps(body).encode()
    return 404, "text/plain", b"There are /health/ and /metrics here.\n"
