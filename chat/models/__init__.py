"""Tables, constraints and derived values of conversations: a module for each subject.

One counter orders a conversation: every durable change locks the conversation's row, takes
`seq + 1` and stamps the changed row with it, so `seq` is gapless and in commit order.
"""

from chat.models.assistants import Assistant, AssistantQuerySet
from chat.models.conversations import Conversation, ConversationQuerySet
from chat.models.installation import Installation
from chat.models.joining import (
    Invitation,
    InvitationQuerySet,
    JoinRequest,
    Sanction,
    SanctionQuerySet,
)
from chat.models.members import Member, MemberQuerySet
from chat.models.mentions import Group, Mention
from chat.models.messages import Message, MessageQuerySet, ReplyChunk
from chat.models.moderation import AuditEntry, Block, Report, ReportQuerySet, Revision
from chat.models.presence import Attendance, PersonStatus, PersonStatusQuerySet
from chat.models.reactions import Reaction, Recount, Tally
from chat.models.reading import Feed, ReadState
from chat.models.topics import Topic, TopicQuerySet, TopicView
from chat.models.transactions import CurrentTransaction, Xid8Field

__all__ = [
    "Assistant",
    "AssistantQuerySet",
    "Attendance",
    "AuditEntry",
    "Block",
    "Conversation",
    "ConversationQuerySet",
    "CurrentTransaction",
    "Feed",
    "Group",
    "Installation",
    "Invitation",
    "InvitationQuerySet",
    "JoinRequest",
    "Member",
    "MemberQuerySet",
    "Mention",
    "Message",
    "MessageQuerySet",
    "PersonStatus",
    "PersonStatusQuerySet",
    "Reaction",
    "ReadState",
    "Recount",
    "ReplyChunk",
    "Report",
    "ReportQuerySet",
    "Revision",
    "Sanction",
    "SanctionQuerySet",
    "Tally",
    "Topic",
    "TopicQuerySet",
    "TopicView",
    "Xid8Field",
]
