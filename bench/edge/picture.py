"""The results as a picture for the docs: one bar for each system and figure."""

from __future__ import annotations

from typing import Any

from bench.svg import document, text

from .systems import CHATIRE, CHATIRE_REDIS, CHATIRE_SEVERAL, NCHAN, SOCKETIO

WIDTH, LABEL, BAR = 860, 230, 470
ROW, GAP = 18, 34

LABELS = {
    CHATIRE: "Chatire",
    CHATIRE_REDIS: "Chatire on Redis",
    CHATIRE_SEVERAL: "2 web, 3 ws, nginx",
    SOCKETIO: "Socket.IO, Postgres adapter",
    NCHAN: "nchan",
    "two": "2 people",
    "ten_thousand": "10,000 people",
}
TITLES = {
    "fanout.first_ms": "POST until the first of {fanout:,} sockets has it",
    "fanout.spread_ms": "from the first socket to the last",
    "fanout.last_ms": "POST until the last has it",
    "open.per_second": "{fanout:,} sockets open, authenticated and subscribed (longer is better)",
    "idle.kb": "memory of each of {idle:,} idle sockets",
    "storm.whole_s": "the sockets' process killed: until all {idle:,} are back and whole",
    "storm.ping_p99_ms": "p99 of answers to those who are back already, meanwhile",
    "room.post_p50_ms": "p50 of a POST in a room, by its size",
}
UNITS = {"ms": "ms", "per_second": "/s", "kb": "KB", "s": "s"}


def draw(report: dict[str, Any]) -> str:
    """An SVG document. Bars are as long as their values, each figure on its own scale."""
    parts: list[str] = []
    y = 30
    for name, title in TITLES.items():
        case, _, figure = name.partition(".")
        values: dict[str, float] = report.get(case, {}).get(figure, {})
        if not values:
            continue
        unit = UNITS.get(figure) or UNITS[figure.rpartition("_")[2]]
        most = max(values.values()) or 1.0
        parts.append(text(10, y, title.format(**report["sockets"]), weight="600"))
        for who, label in LABELS.items():
            if who not in values:
                continue
            y += ROW
            length = max(1.0, BAR * values[who] / most)
            colour = "#94a3b8" if who in (SOCKETIO, NCHAN) else "#2563eb"
            parts.append(text(20, y, label))
            parts.append(
                f'<rect x="{LABEL}" y="{y - 11}" width="{length:.1f}" height="13" rx="2"'
                f' fill="{colour}"/>'
            )
            shown = f"{values[who]:,.0f}" if values[who] >= 100 else f"{values[who]:,.1f}"
            parts.append(text(LABEL + length + 8, y, f"{shown} {unit}".replace(" /", "/")))
        y += GAP
    return document(WIDTH, y, parts)
