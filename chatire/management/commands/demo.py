"""`manage.py demo`: people and assistants to try Chatire with, made once."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from chat.models import Assistant
from chat.services.assistants import make_first_assistant

PASSWORD = "chatire-demo"  # noqa: S105 - printed by `make up`, refused in production

_WRITER = {
    "slug": "writer",
    "name": "Writer",
    "description": "Drafts, rewrites and plays with words.",
    "system_prompt": "You are a writer. Help with drafts, rewriting and wording.",
    "temperature": 0.8,
}


class Command(BaseCommand):
    """Make the demo people (alice, bob) and two assistants, unless they are there."""

    help = "Make demo people and assistants, once. Not for production."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing; what was changed since stays as it is."""
        if settings.PRODUCTION:
            raise CommandError("Demo people have a public password; not in production.")
        make_first_assistant()
        Assistant.objects.get_or_create(slug=_WRITER["slug"], defaults=_WRITER)
        for name in ("alice", "bob"):
            if not User.objects.filter(username__iexact=name).exists():
                User.objects.create_user(
                    name, f"{name}@example.org", PASSWORD, display_name=name.title()
                )
        self.stdout.write("Demo people: alice and bob, password chatire-demo.")
