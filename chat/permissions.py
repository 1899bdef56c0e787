"""Who may do what in a conversation: one table, as data.

A role stands for all that the roles below it may do. What a conversation's `policy` may give to
another role is marked; everything else is the same in all of them.
"""

from typing import Final, NamedTuple

from chat.models import Conversation, Member
from core.errors import Invalid, NotAllowed

Role = Member.Role

RANKS: Final[dict[str, int]] = {
    Role.OWNER: 5,
    Role.ADMIN: 4,
    Role.MODERATOR: 3,
    Role.MEMBER: 2,
    Role.GUEST: 1,
}
_ROLES: Final = {rank: str(role) for role, rank in RANKS.items()}


class Rule(NamedTuple):
    """The least role that may do something, and whether a conversation may say another."""

    least: str
    by_policy: bool = False


ACTIONS: Final[dict[str, Rule]] = {
    "send": Rule(Role.GUEST, by_policy=True),
    "ask": Rule(Role.MEMBER, by_policy=True),  # an assistant
    "thread": Rule(Role.MEMBER, by_policy=True),  # to begin one; to go on with it is `send`
    "topic": Rule(Role.MEMBER, by_policy=True),  # to begin one in a forum
    "vote": Rule(Role.MEMBER, by_policy=True),
    # Others' topics: title, tags, closed and solved, the answer; whose it is may do that anyway.
    "topics": Rule(Role.MODERATOR),
    "pin_topic": Rule(Role.MODERATOR),
    "edit_own": Rule(Role.GUEST),
    # Members too in a room of up to FEW people, unless its policy says who.
    "mention_all": Rule(Role.MODERATOR, by_policy=True),
    "delete_own": Rule(Role.GUEST),
    "delete_others": Rule(Role.MODERATOR),
    "pin": Rule(Role.MODERATOR, by_policy=True),
    # To see former wordings; those of deleted messages also take `delete_others`.
    "revisions": Rule(Role.MODERATOR, by_policy=True),
    "report": Rule(Role.GUEST),
    "reports": Rule(Role.MODERATOR),  # to see and resolve them
    "silence": Rule(Role.MODERATOR),  # people below one's own rank
    "slow": Rule(Role.MODERATOR),  # to set slow mode, and not to be bound by it
    # To see who did what: those who `govern` everything, moderators their own acts.
    "audit": Rule(Role.MODERATOR),
    "add": Rule(Role.MEMBER, by_policy=True),  # a person, by name
    # To make links, and to see and revoke one's own.
    "invite": Rule(Role.MEMBER, by_policy=True),
    "invitations": Rule(Role.MODERATOR),  # to see and revoke everyone's
    "requests": Rule(Role.MODERATOR),  # to see and decide who asks to come in
    # People below one's own rank.
    "remove": Rule(Role.MODERATOR),
    "ban": Rule(Role.MODERATOR),
    "describe": Rule(Role.ADMIN, by_policy=True),  # title, topic and avatar
    # To below one's own rank, of members below it; an owner everything.
    "roles": Rule(Role.ADMIN),
    "nicknames": Rule(Role.ADMIN),  # others'
    # To bring and remove them, and to say what they hear and read.
    "assistants": Rule(Role.ADMIN),
    "govern": Rule(Role.ADMIN),  # access, history and policy
    "archive": Rule(Role.ADMIN),
    "delete": Rule(Role.OWNER),
}


FEW: Final = 20
# Not an action: how many replies may be asked for in a room and day.
REPLIES: Final = "replies"


def least_role(action: str, conversation: Conversation) -> str:
    """Return the least role that may do this here."""
    rule = ACTIONS[action]
    if rule.by_policy and conversation.policy.get(action) in RANKS:
        return str(conversation.policy[action])
    if action == "mention_all" and conversation.people <= FEW:
        return Role.MEMBER
    return str(rule.least)


def may(action: str, role: str, conversation: Conversation) -> bool:
    """Say whether a role may do this here."""
    return RANKS[role] >= RANKS[least_role(action, conversation)]


def require_role(action: str, role: str, conversation: Conversation) -> None:
    """Raise NotAllowed, with the `action` and the role it `needs`, unless the role may do it."""
    if not may(action, role, conversation):
        raise _refused(action, least_role(action, conversation))


def require(action: str, member: Member, conversation: Conversation) -> None:
    """Raise NotAllowed, with the `action` and the role it `needs`, unless the member may do it."""
    require_role(action, member.role, conversation)


def require_above(
    action: str, member: Member, conversation: Conversation, *roles: str, equals: bool = False
) -> None:
    """`require`, and that the member's rank is above these; with `equals`, owners suffice."""
    needed = max(RANKS[least_role(action, conversation)], *(RANKS[role] + 1 for role in roles))
    highest = RANKS[Role.OWNER]
    if RANKS[member.role] < (min(needed, highest) if equals else needed):
        raise _refused(action, _ROLES[min(needed, highest)])


def require_policy(policy: dict[str, str | int]) -> None:
    """Raise Invalid unless each is something that a conversation may decide by itself."""
    for action, value in policy.items():
        if isinstance(value, int) != (action == REPLIES):
            raise Invalid("A role is asked for, or a number.", field=f"policy.{action}")
        if action == REPLIES:
            continue
        if action not in ACTIONS or not ACTIONS[action].by_policy:
            raise Invalid(f"{action} is the same in every conversation.", field=f"policy.{action}")


def _refused(action: str, needs: str) -> NotAllowed:
    return NotAllowed(action=action, needs=needs)
