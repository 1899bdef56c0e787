"""Opening, naming and deleting conversations."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from accounts.models import User
from chat.change import Change, changing
from chat.models import Assistant, Conversation, Member
from chat.selectors.conversations import offers
from chat.services.members import new_member, require_manager
from chat.services.notices import notify_added
from core.errors import Invalid, NotAllowed, NotFound
from protocol import limits

MAX_MEMBERS_AT_ONCE = 100


def create_conversation(
    *,
    user: User,
    kind: str = Conversation.Kind.ASSISTANT,
    assistant: str | None = None,
    title: str = "",
    model: str = "",
    language: str = "",
    members: Sequence[UUID] = (),
) -> Conversation:
    """Open a conversation owned by `user`.

    `assistant` is a slug; a conversation of kind `assistant` gets the first active one if none is
    named, a group or discussion may go without. `members` are other people's ids.
    Raises Invalid for an unknown assistant, model, kind or person.
    """
    if kind not in Conversation.Kind.values:
        raise Invalid("There is no such kind of conversation.", field="kind")
    if kind == Conversation.Kind.ASSISTANT and members:
        raise Invalid(
            "A conversation with an assistant has one person; open a group.", field="members"
        )
    chosen = _assistant(assistant, required=kind == Conversation.Kind.ASSISTANT)
    if model:
        require_model(chosen, model)
    others = _people(members, besides=user)
    with transaction.atomic():
        conversation = Conversation.objects.create(
            kind=kind, title=title, creator=user, model=model, language=language
        )
        with changing(conversation.pk) as change:
            new_member(change=change, user=user, role=Member.Role.OWNER)
            if chosen is not None:
                new_member(change=change, assistant=chosen)
            for other in others:
                member = new_member(change=change, user=other)
                notify_added(conversation=conversation, member=member, by=user)
            change.touch()
    return change.conversation


def require_model(assistant: Assistant | None, model: str) -> None:
    """Raise Invalid unless the assistant is, or may be, run on this model."""
    if assistant is None or not offers(assistant, model):
        raise Invalid("This assistant does not offer that model.", field="model")


def _assistant(slug: str | None, *, required: bool) -> Assistant | None:
    if slug is None:
        if not required:
            return None
        first = Assistant.objects.active().order_by("created_at", "id").first()
        if first is None:
            raise Invalid("No assistant is set up yet.", field="assistant")
        return first
    found = Assistant.objects.active().filter(slug=slug).first()
    if found is None:
        raise Invalid("There is no such assistant.", field="assistant")
    return found


def _people(ids: Sequence[UUID], *, besides: User) -> list[User]:
    wanted = set(ids) - {besides.pk}
    if len(wanted) > MAX_MEMBERS_AT_ONCE:
        raise Invalid(f"At most {MAX_MEMBERS_AT_ONCE} members at once.", field="members")
    people = list(User.people.active().filter(pk__in=wanted).order_by("pk"))
    if len(people) != len(wanted):
        raise Invalid("One of these people does not exist.", field="members")
    return people


def rename_conversation(*, user: User, conversation_id: UUID, title: str) -> Conversation:
    """Give a conversation another title. Raises NotFound, or NotAllowed for plain members."""
    with changing(conversation_id) as change:
        require_manager(change.member(user))
        retitle(change=change, title=title)
    return change.conversation


def retitle(*, change: Change, title: str) -> None:
    """Give a locked conversation another title, and tell of it if it is another."""
    conversation = change.conversation
    if conversation.title == title:
        return
    conversation.title = title
    change.changed(conversation, "title")
    change.touch()


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
    """Delete a conversation and all that was said in it. Raises NotFound or NotAllowed."""
    with changing(conversation_id) as change:
        member = change.member(user)
        if member.role != Member.Role.OWNER:
            raise NotAllowed("Only its owner may delete a conversation.")
        change.delete()
