"""The audit log: who did what, to whom and why. Written in the transaction of the act."""

from typing import Any
from uuid import UUID

from accounts.models import User
from chat.models import AuditEntry, Conversation, Member, Message


def record(
    conversation: Conversation,
    action: str,
    *,
    by: User | None,
    person: UUID | None = None,
    message: Message | None = None,
    as_staff: bool = False,
    reason: str = "",
    **details: Any,
) -> None:
    """Note that `by` did this. `details` are JSON, and never hold text of a message."""
    AuditEntry.objects.create(
        conversation=conversation,
        actor=by,
        action=action,
        person_id=person,
        message=message,
        as_staff=as_staff,
        reason=reason,
        details=details,
    )


def record_member(
    conversation: Conversation,
    action: str,
    member: Member,
    *,
    by: User | None,
    as_staff: bool = False,
    reason: str = "",
    **details: Any,
) -> None:
    """Note what was done to a member; an assistant is named by its slug."""
    if member.assistant is not None:
        details["assistant"] = member.assistant.slug
    record(
        conversation,
        action,
        by=by,
        person=member.user_id,
        as_staff=as_staff,
        reason=reason,
        **details,
    )
