"""The results as a picture for the docs: one bar for each peer and measure, longer is better."""

from __future__ import annotations

from html import escape
from typing import Any

from .peers import CHATIRE

WIDTH, LABEL, BAR = 860, 250, 430
ROW, GAP = 18, 34


def draw(results: dict[str, Any]) -> str:
    """An SVG document. Each measure has its own scale, with the best peer at full length."""
    parts: list[str] = []
    y = 30
    for letter, case in results.items():
        for name, measure in case["measures"].items():
            medians: dict[str, float] = measure["medians"]
            rising = "second" in name
            best = max(medians.values()) if rising else min(medians.values())
            unit = name.replace("per second", "/s").removesuffix(" ms")
            title = f"({letter}) {case['title']}" + ("" if rising else f" — {unit}, ms")
            parts.append(_text(10, y, title, weight="600"))
            for peer, median in medians.items():
                y += ROW
                share = median / best if rising else best / median
                colour = "#2563eb" if peer == CHATIRE else "#94a3b8"
                parts.append(_text(20, y, peer))
                parts.append(
                    f'<rect x="{LABEL}" y="{y - 11}" width="{max(1.0, BAR * share):.1f}"'
                    f' height="13" rx="2" fill="{colour}"/>'
                )
                label = f"{median:,.0f}/s" if rising else f"{median:,.2f} ms"
                parts.append(_text(LABEL + max(1.0, BAR * share) + 8, y, label))
            for peer in case["faults"]:
                if peer not in medians:
                    y += ROW
                    parts.append(_text(20, y, peer))
                    parts.append(_text(LABEL, y, "failed"))
            y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}"'
        f' viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="#0f172a" font-weight="{weight}">{escape(text)}</text>'
