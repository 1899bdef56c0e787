"""WebSocket frames by hand: the measuring client may cost next to nothing."""

from __future__ import annotations

import base64
import hashlib
import struct

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_ACCEPT = base64.b64encode(
    hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
)


class NotUpgraded(Exception):
    """The server answered something else than 101."""


def upgrade(path: str) -> bytes:
    """A request to speak WebSocket at `path`, without compression."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY.decode()}\r\n\r\n"
    ).encode()


def after_upgrade(buffer: bytes) -> bytes | None:
    """What follows the answer to `upgrade`; None until all of it is there. Raises NotUpgraded."""
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 101 ") or _ACCEPT not in head:
        raise NotUpgraded(head.split(b"\r\n", 1)[0].decode(errors="replace"))
    return rest


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame from a client. Its mask is zero, which is allowed and leaves the payload as it is."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    return head + b"\0\0\0\0" + payload


def split(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a server that `buffer` begins with, by opcode, and the rest of it."""
    found: list[tuple[int, bytes]] = []
    at, end = 0, len(buffer)
    while end - at >= 2:
        length, begin = buffer[at + 1], at + 2
        if length == 126:
            if end - at < 4:
                break
            length, begin = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
        elif length == 127:
            if end - at < 10:
                break
            length, begin = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
        if begin + length > end:
            break
        found.append((buffer[at] & 15, buffer[begin : begin + length]))
        at = begin + length
    return found, buffer[at:]
