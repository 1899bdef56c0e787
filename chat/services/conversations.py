"""Opening, naming and deleting conversations."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.selectors import present_ids
from chat.change import Change, changing
from chat.errors import ReadOnly
from chat.models import Assistant, Conversation, Member
from chat.permissions import require, require_policy
from chat.selectors.blocks import blocked_ids, who_block
from chat.selectors.conversations import offers
from chat.services.audit import record
from chat.services.members import new_member
from chat.services.notices import notify_added
from chat.services.topic_rows import mirror, remove
from core.errors import Conflict, Invalid, NotFound
from protocol import limits

MAX_MEMBERS_AT_ONCE = 100
_MAX_DIRECT = 8
# What a policy may leave to any role; the rest decides who comes in and what they see.
_DESCRIBED = {"title", "topic_text", "avatar"}
_OPENED = (Conversation.Kind.ASSISTANT, Conversation.Kind.GROUP, Conversation.Kind.FORUM)
_AUDITED = ("access", "history", "policy", "slow_seconds")


def create_conversation(
    *,
    user: User,
    kind: str = Conversation.Kind.ASSISTANT,
    assistant: str | None = None,
    title: str = "",
    model: str = "",
    language: str = "",
    members: Sequence[UUID] = (),
    **values: Any,
) -> Conversation:
    """Open a conversation owned by `user`.

    `assistant` is a slug; a conversation of kind `assistant` gets the first active one if none is
    named, a group or forum may go without. `members` are other people's ids; `values` are
    those that `change_conversation` sets.
    Raises Invalid for an unknown assistant, model, kind or person, or for what only rooms have.
    """
    if kind not in _OPENED:
        raise Invalid("There is no such kind of conversation.", field="kind")
    if kind == Conversation.Kind.ASSISTANT and members:
        raise Invalid(
            "A conversation with an assistant has one person; open a group.", field="members"
        )
    if values.keys() - _DESCRIBED:
        _require_room_of(kind, values)
    chosen = _assistant(assistant, required=kind == Conversation.Kind.ASSISTANT)
    if model:
        require_model(chosen, model)
    others = _people(members, besides=user)
    with transaction.atomic():
        conversation = Conversation.objects.create(
            kind=kind, title=title, creator=user, model=model, language=language, **values
        )
        with changing(conversation.pk) as change:
            new_member(change=change, user=user, role=Member.Role.OWNER)
            if chosen is not None:
                new_member(change=change, assistant=chosen)
                if kind == Conversation.Kind.FORUM:
                    change.conversation.responder = chosen
                    change.changed(change.conversation, "responder")
            for other in others:
                member = new_member(change=change, user=other, by=user)
                notify_added(conversation=conversation, member=member, by=user)
            change.touch()
    return change.conversation


def open_direct(*, user: User, people: Sequence[UUID]) -> tuple[Conversation, bool]:
    """Return the one conversation of exactly these people and `user`, and whether it is new.

    Who has left it is in it again. Raises Invalid for an unknown person, or for one that a guest
    has no room in common with; Conflict for one whom they block.
    """
    others = _people(people, besides=user, field="people", most=_MAX_DIRECT)
    if not others:
        raise Invalid("Name someone besides yourself.", field="people")
    if user.is_guest:
        _require_known(user, others)
    if {person.pk for person in others} & set(blocked_ids(user.pk)):
        raise Conflict("You have blocked one of these people.")
    everyone = sorted([user, *others], key=lambda person: person.pk)
    key = direct_key(person.pk for person in everyone)
    with transaction.atomic():
        # Two who open it at once wait for each other here, and find the same.
        conversation, made = Conversation.objects.get_or_create(
            direct_key=key, defaults={"kind": Conversation.Kind.DIRECT, "creator": user}
        )
        with changing(conversation.pk) as change:
            present = Member.objects.present().filter(conversation=conversation)
            here = set(present.values_list("user_id", flat=True))
            for person in everyone:
                if person.pk not in here:
                    new_member(change=change, user=person, by=user)
            if len(here) < len(everyone):
                change.touch()
    return change.conversation, made


def direct_key(people: Iterable[UUID]) -> str:
    """Return what the one direct conversation of these people is found by."""
    return hashlib.sha256(b"".join(person.bytes for person in sorted(people))).hexdigest()


def _require_known(user: User, others: Sequence[User]) -> None:
    own = Member.objects.present().filter(user=user).values("conversation")
    shared = Member.objects.present().filter(conversation__in=own)
    known = set(shared.values_list("user_id", flat=True))
    if any(person.pk not in known for person in others):
        raise Invalid("One of these people does not exist.", field="people")


def require_model(assistant: Assistant | None, model: str) -> None:
    """Raise Invalid unless the assistant is, or may be, run on this model."""
    if assistant is None or not offers(assistant, model):
        raise Invalid("This assistant does not offer that model.", field="model")


def _assistant(slug: str | None, *, required: bool, field: str = "assistant") -> Assistant | None:
    if slug is None:
        if not required:
            return None
        first = Assistant.objects.active().order_by("created_at", "id").first()
        if first is None:
            raise Invalid("No assistant is set up yet.", field="assistant")
        return first
    found = Assistant.objects.active().filter(slug=slug).first()
    if found is None:
        raise Invalid("There is no such assistant.", field=field)
    return found


def _people(
    ids: Sequence[UUID], *, besides: User, field: str = "members", most: int = MAX_MEMBERS_AT_ONCE
) -> list[User]:
    wanted = set(present_ids(ids)) - {besides.pk}
    if len(wanted) > most:
        raise Invalid(f"At most {most} people at once.", field=field)
    people = list(User.people.active().filter(pk__in=wanted).order_by("pk"))
    # Who blocks the one who asks is as one who does not exist: they are not told.
    if len(people) != len(wanted) or who_block(besides.pk, wanted):
        raise Invalid("One of these people does not exist.", field=field)
    return people


def change_conversation(*, user: User, conversation_id: UUID, **values: Any) -> Conversation:
    """Set `title`, `topic_text`, `avatar`, `access`, `history`, `policy`, `slow_seconds`, or of a
    forum its `responder` (the slug of an assistant, or None).

    Raises NotFound, NotAllowed, or Invalid for what only rooms have.
    """
    with changing(conversation_id) as change:
        member, conversation = change.member(user), change.conversation
        if values.keys() & _DESCRIBED:
            require("describe", member, change.room)
        if "slow_seconds" in values:
            require("slow", member, change.room)
        if values.keys() - _DESCRIBED - {"slow_seconds"}:
            require("govern", member, change.room)
        if values.keys() - _DESCRIBED:
            _require_room_of(conversation.kind, values)
        if "responder" in values:
            values["responder_id"] = _responder(change, values.pop("responder"))
        before = {name: getattr(conversation, name) for name in _AUDITED}
        _set(change, values)
        after = {name: getattr(conversation, name) for name in _AUDITED}
        for name in (name for name in _AUDITED if before[name] != after[name]):
            record(change.room, f"{name}.changed", by=user, was=before[name], now=after[name])
    return change.conversation


def _responder(change: Change, slug: str | None) -> UUID | None:
    """The assistant that is to answer new topics first; it comes into the forum for that."""
    if change.conversation.kind != Conversation.Kind.FORUM:
        raise Invalid("Only in a forum somebody answers first.", field="responder")
    assistant = None if slug is None else _assistant(slug, required=False, field="responder")
    if assistant is None:
        return None
    if not change.conversation.members.present().filter(assistant=assistant).exists():
        new_member(change=change, assistant=assistant)
    return assistant.pk


def archive_conversation(*, user: User, conversation_id: UUID) -> Conversation:
    """Let nothing more be said in a conversation. Raises NotFound or NotAllowed."""
    with changing(conversation_id) as change:
        require("archive", change.member(user), change.room)
        if change.conversation.archived_at is None:
            _set(change, {"archived_at": timezone.now()})
            record(change.room, "conversation.archived", by=user)
    return change.conversation


def unarchive_conversation(*, user: User, conversation_id: UUID) -> Conversation:
    """Let a conversation go on. Raises NotFound or NotAllowed."""
    with changing(conversation_id) as change:
        require("archive", change.member(user), change.room)
        if change.conversation.archived_at is not None:
            _set(change, {"archived_at": None})
            record(change.room, "conversation.unarchived", by=user)
    return change.conversation


def require_open(change: Change) -> None:
    """Raise ReadOnly if nothing more may be said in a conversation."""
    if change.is_archived:
        raise ReadOnly


def _require_room_of(kind: str, values: dict[str, Any]) -> None:
    if kind in Conversation.CLOSED:
        raise Invalid("Only a room has that.", field=next(iter(values.keys() - _DESCRIBED)))
    if kind == Conversation.Kind.FORUM and values.get("history") == Conversation.History.JOINED:
        raise Invalid("Who joins a forum reads all of it.", field="history")
    require_policy(values.get("policy", {}))


def _set(change: Change, values: dict[str, Any]) -> None:
    """Change what is different, and tell of it."""
    conversation = change.conversation
    different = [name for name in values if getattr(conversation, name) != values[name]]
    if not different:
        return
    for name in different:
        setattr(conversation, name, values[name])
    change.changed(conversation, *different)
    change.touch()
    mirror(change)


def retitle(*, change: Change, title: str) -> None:
    """Give a locked conversation another title, and tell of it if it is another."""
    _set(change, {"title": title})


def name_conversation(*, conversation_id: UUID, title: str) -> bool:
    """Set the title of a conversation that has none. False if it has one by now, or is gone."""
    try:
        with changing(conversation_id) as change:
            if change.conversation.title:
                return False
            retitle(change=change, title=title[: limits.MAX_TITLE])
            return True
    except NotFound:
        return False


def delete_conversation(*, user: User, conversation_id: UUID) -> None:
    """Delete a conversation and all that was said in it. Raises NotFound or NotAllowed.

    A topic is deleted as a message is: one's own, or as a moderator anybody's.
    """
    with changing(conversation_id) as change:
        action = "delete"
        if change.conversation.kind == Conversation.Kind.DISCUSSION:
            own = change.conversation.creator_id == user.pk
            action = "delete_own" if own else "delete_others"
        require(action, change.member(user), change.room)
        record(change.room, "conversation.deleted", by=user)
        remove(change)
        change.delete()
