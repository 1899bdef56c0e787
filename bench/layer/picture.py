"""The results as a picture for the docs: one bar for each peer and measure, longer is better."""

from __future__ import annotations

from typing import Any

from bench.svg import document, text

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
            parts.append(text(10, y, title, weight="600"))
            for peer, median in medians.items():
                y += ROW
                share = median / best if rising else best / median
                colour = "#2563eb" if peer == CHATIRE else "#94a3b8"
                parts.append(text(20, y, peer))
                parts.append(
                    f'<rect x="{LABEL}" y="{y - 11}" width="{max(1.0, BAR * share):.1f}"'
                    f' height="13" rx="2" fill="{colour}"/>'
                )
                label = f"{median:,.0f}/s" if rising else f"{median:,.2f} ms"
                parts.append(text(LABEL + max(1.0, BAR * share) + 8, y, label))
            for peer in case["faults"]:
                if peer not in medians:
                    y += ROW
                    parts.append(text(20, y, peer))
                    parts.append(text(LABEL, y, "failed"))
            y += GAP
    return document(WIDTH, y, parts)
