"""People, rooms and tokens in Chatire's own database: python -m bench.edge.people WANTED

WANTED is JSON, see `main`. Rooms are opened as people open them, and then filled by rows.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from accounts.models import User

VALID = timedelta(hours=3)  # longer than any run


def main() -> None:
    """Make rooms of so many people; print for each its id, its owner's token and all tokens.

    `rooms` lists how many people are in each; of `silent` ones, tokens of the owner only.
    """
    django.setup()
    wanted = json.loads(sys.argv[1])
    rooms = [room(f"Room {n}", people) for n, people in enumerate(wanted["rooms"])]
    silent = [room(f"Silent {n}", people, silent=True) for n, people in enumerate(wanted["silent"])]
    json.dump({"rooms": rooms, "silent": silent}, sys.stdout)


def room(title: str, people: int, *, silent: bool = False) -> dict[str, Any]:
    """Open a room of so many people."""
    from accounts.models import User
    from chat.models import Conversation, Feed, Member, ReadState
    from chat.services.conversations import create_conversation

    name = title.replace(" ", "-").lower()
    everyone = User.objects.bulk_create(
        User(username=f"{name}-{n}", email=f"{name}-{n}@example.org", display_name=f"Person {n}")
        for n in range(people)
    )
    owner, *others = everyone
    made = create_conversation(user=owner, kind="group", title=title)
    last = made.seq + len(others)
    Member.objects.bulk_create(
        Member(conversation=made, user=other, seq=made.seq + n, joined_seq=made.seq + n)
        for n, other in enumerate(others, 1)
    )
    # The database itself makes them for a version that does not.
    Feed.objects.bulk_create((Feed(user=other, seq=1) for other in others), ignore_conflicts=True)
    ReadState.objects.bulk_create(
        (ReadState(user_id=other.pk, conversation_id=made.pk, seq=1) for other in others),
        ignore_conflicts=True,
    )
    Conversation.objects.filter(pk=made.pk).update(people=people, seq=last)
    return {"id": str(made.pk), "tokens": tokens([owner] if silent else everyone)}


def tokens(people: list[User]) -> list[str]:
    """Sign each of them in."""
    from django.utils import timezone

    from accounts.models import Session
    from accounts.tokens import new_access_token

    until = timezone.now() + VALID
    found = []
    for session in Session.objects.bulk_create(
        Session(user=person, expires_at=until) for person in people
    ):
        token = new_access_token(session)
        token.set_exp(lifetime=VALID)
        found.append(str(token))
    return found


if __name__ == "__main__":
    main()
