"""Over HTTP: who is in a conversation, and who may not be."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.models import Sanction
from chat.rest import bodies
from chat.rest.pagination import ByCreation, ByJoining
from chat.selectors.conversations import members_of
from chat.selectors.joining import bans_of
from chat.services.members import (
    add_assistant,
    add_member,
    ban_member,
    change_member,
    lift_ban,
    remove_member,
)
from chat.states import member_state, person_state
from core.errors import Invalid
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol.states import MemberState


def _ban(ban: Sanction) -> bodies.BanBody:
    return bodies.BanBody(
        id=ban.pk,
        user=person_state(ban.user),
        by=person_state(ban.by) if ban.by is not None else None,
        reason=ban.reason,
        until=ban.until,
        created_at=ban.created_at,
    )


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
        """Add a person, or an assistant."""
        body = parse(bodies.NewMember, request.data)
        user = person(request)
        if body.user is not None and body.assistant is None:
            member = add_member(user=user, conversation_id=conversation_id, person=body.user)
        elif body.assistant is not None and body.user is None:
            member = add_assistant(user=user, conversation_id=conversation_id, slug=body.assistant)
        else:
            raise Invalid("Name a person, or an assistant.", field="user")
        return answer(member_state(member), 201)


class MemberView(APIView):
    """One member."""

    @extend_schema(
        operation_id="members_update",
        request=bodies.MemberPatch,
        responses={200: MemberState, **errors(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Change a role or a nickname, or what an assistant hears and reads."""
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


class BanView(APIView):
    """A person to show out for good."""

    @extend_schema(
        operation_id="members_ban",
        request=bodies.NewBan,
        responses={201: bodies.BanBody, **errors(400, 401, 403, 404)},
    )
    def post(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Remove somebody and let nobody bring them back."""
        body = parse(bodies.NewBan, request.data)
        ban = ban_member(
            user=person(request),
            conversation_id=conversation_id,
            member_id=member_id,
            **body.model_dump(),
        )
        return answer(_ban(ban), 201)


class BansView(APIView):
    """Who may not come in."""

    @extend_schema(
        operation_id="bans_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.BanPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List who was banned."""
        return ByCreation.answer(request, self, bans_of(person(request), conversation_id), _ban)


class LiftedBanView(APIView):
    """A ban to lift."""

    @extend_schema(operation_id="bans_delete", responses={204: None, **errors(401, 403, 404)})
    def delete(self, request: Request, conversation_id: UUID, ban_id: UUID) -> Response:
        """Let them come in again."""
        lift_ban(user=person(request), conversation_id=conversation_id, ban_id=ban_id)
        return Response(status=204)
