"""The parts that the pictures of results have in common."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def document(width: int, height: float, parts: Iterable[str]) -> str:
    """A picture of these parts, on white."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def text(x: float, y: float, text: str, weight: str = "400") -> str:
    """A line of text that begins at a point."""
    return f'<text x="{x:.1f}" y="{y}" fill="#0f172a" font-weight="{weight}">{escape(text)}</text>'
