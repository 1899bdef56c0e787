"""What docs/deployment.md says, to be carried out: its code blocks, as they stand there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "deployment.md").read_text()
HOST = "chat.example.org"


def section(heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(heading: str, language: str = r"\w*") -> list[str]:
    """Return the code blocks under a heading."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(heading), re.DOTALL | re.MULTILINE)


def environment() -> dict[str, str]:
    """Return the variables of the least that one sets, as systemd and Compose read a file."""
    (block,) = blocks("The least you set", "sh")
    lines = [line for line in block.splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def units() -> dict[str, str]:
    """Return the documented units by their file names, in the order of the page."""
    names = re.findall(r"`/etc/systemd/system/([\w@.-]+)`", section("systemd"))
    return dict(zip(names, blocks("systemd", "ini"), strict=True))


def substitute(text: str, rules: dict[str, str]) -> str:
    """Replace what stands there by what this machine needs. What is not there is an error."""
    for old, new in rules.items():
        assert old in text, f"docs/deployment.md does not say {old!r} any more"
        text = text.replace(old, new)
    return text
