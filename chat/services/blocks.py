"""Wanting nothing from somebody. They are not told, and still read the rooms one shares."""

from typing import Final
from uuid import UUID

from django.db import connection, transaction

from accounts.models import User
from chat.feed import take_seqs
from chat.selectors.blocks import blocked_ids
from core.errors import Conflict, Invalid
from core.publishing import publish_on_commit, to_rosters, to_user
from protocol.events import BlockUpdated

MAX_BLOCKS: Final = 500


def block(*, user: User, person: UUID, on: bool) -> list[UUID]:
    """Block somebody, or no longer; return whom one blocks now. Doing so twice changes nothing.

    Raises Invalid for an unknown person or oneself, Conflict if one blocks too many.
    """
    if person == user.pk:
        raise Invalid("Nobody blocks themselves.", field="user")
    if on and not User.people.filter(pk=person).exists():
        raise Invalid("There is no such person.", field="user")
    with transaction.atomic():
        # Locks the person's feed, so that two devices act one after the other.
        seq = take_seqs([user.pk])[user.pk]
        before = blocked_ids(user.pk)
        if on == (person in before):
            transaction.set_rollback(True)
            return before
        if on and len(before) >= MAX_BLOCKS:
            raise Conflict(f"At most {MAX_BLOCKS} people can be blocked.")
        with connection.cursor() as cursor:
            cursor.execute(_SET, [user.pk, person, on, seq])
        blocks = blocked_ids(user.pk)
        blocked = {"users": [user.pk.hex, person.hex]}
        publish_on_commit(
            [
                to_user(user.pk, BlockUpdated(seq=seq, blocks=blocks)),
                to_rosters("live.blocked", blocked),
            ]
        )
    return blocks


_SET = """
INSERT INTO chat_block (id, user_id, blocked_id, "on", seq, created_at)
VALUES (gen_random_uuid(), %s, %s, %s, %s, now())
ON CONFLICT (user_id, blocked_id) DO UPDATE
SET "on" = excluded."on", seq = excluded.seq, created_at = excluded.created_at
"""
