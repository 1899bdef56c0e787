"""People, as far as the one who asks may know of them."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.selectors import present_ids
from chat.models import Member


def people_known_to(
    user: User, *, q: str | None = None, ids: Sequence[UUID] | None = None
) -> QuerySet[User]:
    """The other people that a person may write to: accounts, and whoever is in a room with them.

    A guest knows only the latter. `q` is how a name begins, or a word in it, or a user name; of
    `ids` those of merged guests stand for their accounts.
    """
    own = Member.objects.present().filter(user=user).values("conversation")
    shared = Member.objects.present().people().filter(conversation__in=own).values("user")
    known = Q(pk__in=shared)
    if not user.is_guest:
        known |= Q(is_guest=False)
    people = User.people.active().filter(known).exclude(pk=user.pk)
    if ids is not None:
        people = people.filter(pk__in=present_ids(ids))
    if q:
        begins = Q(display_name__istartswith=q) | Q(display_name__icontains=f" {q}")
        people = people.filter(begins | Q(is_guest=False, username__istartswith=q))
    return people
