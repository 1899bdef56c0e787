"""Over HTTP: whom one may name, and what names one."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.models import Group
from chat.rest import bodies
from chat.rest.pagination import ByCreation, ByNewest
from chat.selectors.mentions import groups, mentionable, messages_naming
from chat.states import message_state
from core.rest import answer, parse_query
from core.schema import errors, query_parameters


def _group(group: Group) -> bodies.GroupBody:
    size: int = group.size  # type: ignore[attr-defined] # annotated
    return bodies.GroupBody(id=group.pk, slug=group.slug, name=group.name, people=size)


class MentionableView(APIView):
    """Whom one may name in a conversation."""

    @extend_schema(
        operation_id="mentionable_list",
        parameters=query_parameters(bodies.MentionableQuery),
        responses={200: bodies.MentionableList, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List who can be named here, the first 20 whose names begin so."""
        query = parse_query(bodies.MentionableQuery, request)
        found = mentionable(person(request), conversation_id, q=query.q)
        return answer(bodies.MentionableList(results=found))


class MyMentionsView(APIView):
    """What names one."""

    @extend_schema(
        operation_id="me_mentions",
        parameters=ByNewest.parameters(),
        responses={200: bodies.MentionPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the messages that name one, in all one's conversations, the newest first."""
        return ByNewest.answer(request, self, messages_naming(person(request)), message_state)


class GroupsView(APIView):
    """Groups of people."""

    @extend_schema(
        operation_id="groups_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.GroupPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the groups of people that can be named at once; none to a guest."""
        return ByCreation.answer(request, self, groups(person(request)), _group)
