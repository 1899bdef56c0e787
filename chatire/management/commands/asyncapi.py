"""`manage.py asyncapi`: the socket's document, and the tables of the page about it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from chatire.documents import as_json, as_yaml
from protocol.tables import fill


class Command(BaseCommand):
    """Write the AsyncAPI document of the sockets, or fill in the tables of a Markdown page."""

    help = "Write the AsyncAPI document of the sockets, or fill in the tables of a Markdown page."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add where to and how."""
        parser.add_argument("--format", choices=("json", "yaml"), default="json")
        parser.add_argument("--file", type=Path, help="instead of standard output")
        parser.add_argument("--tables", type=Path, help="a page whose marked tables are made anew")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write what was asked for."""
        page: Path | None = options["tables"]
        if page is not None:
            page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
            return
        text = as_json() if options["format"] == "json" else as_yaml()
        if options["file"] is None:
            self.stdout.write(text, ending="")
        else:
            options["file"].write_text(text, encoding="utf-8")
