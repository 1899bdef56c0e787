"""Over HTTP: who is in a conversation."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.rest import bodies
from chat.rest.pagination import ByJoining
from chat.selectors.conversations import members_of
from chat.services.members import add_member, change_member, remove_member
from chat.states import member_state
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol.states import MemberState


class MembersView(APIView):
    """Who is in a conversation."""

    @extend_schema(
        operation_id="members_list",
        parameters=[*ByJoining.parameters(), *query_parameters(bodies.MembersQuery)],
        responses={200: bodies.MemberPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List the present members, in joining order."""
        query = parse_query(bodies.MembersQuery, request)
        members = members_of(person(request), conversation_id, **query.model_dump())
        return ByJoining.answer(request, self, members, member_state)

    @extend_schema(
        operation_id="members_create",
        request=bodies.NewMember,
        responses={201: MemberState, **errors(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Add a person."""
        body = parse(bodies.NewMember, request.data)
        member = add_member(user=person(request), conversation_id=conversation_id, person=body.user)
        return answer(member_state(member), 201)


class MemberView(APIView):
    """One member."""

    @extend_schema(
        operation_id="members_update",
        request=bodies.MemberPatch,
        responses={200: MemberState, **errors(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Change a role or a nickname."""
        body = parse(bodies.MemberPatch, request.data)
        member = change_member(
            user=person(request),
            conversation_id=conversation_id,
            member_id=member_id,
            **body.model_dump(),
        )
        return answer(member_state(member))

    @extend_schema(
        operation_id="members_delete",
        responses={204: None, **errors(401, 403, 404, 409)},
    )
    def delete(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Remove a member, or leave."""
        remove_member(user=person(request), conversation_id=conversation_id, member_id=member_id)
        return Response(status=204)
