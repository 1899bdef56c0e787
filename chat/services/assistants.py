"""The assistant that an installation begins with; all others are made in the admin."""

from typing import Final

from chat.models import Assistant

# It names no model, so it runs on CHATIRE_MODEL, also after that has changed; and no temperature,
# since some models take none.
_FIRST: Final = {
    "slug": "assistant",
    "name": "Assistant",
    "description": "Answers questions, plainly and briefly.",
    "system_prompt": "You are a helpful assistant. Answer plainly and briefly.",
}


def make_first_assistant() -> Assistant | None:
    """Make an assistant and return it; None if there is any already, active or not."""
    if Assistant.objects.exists():
        return None
    # By its slug, so that two who find none make one.
    assistant, made = Assistant.objects.get_or_create(slug=_FIRST["slug"], defaults=_FIRST)
    return assistant if made else None
