"""Over HTTP: rooms that can be found, and the ways into them and out of them."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.authentication import person
from accounts.errors import NotSignedIn
from accounts.models import User
from accounts.rest.bodies import Tokens as TokensBody
from accounts.rest.bodies import tokens_body
from chat.models import Conversation, Invitation, JoinRequest
from chat.models.tokens import invitation_token
from chat.rest import bodies
from chat.rest.pagination import ByActivity, ByCreation, ByJoining
from chat.selectors.joining import (
    directory,
    invitation_by,
    invitations_of,
    members_by_invitation,
    open_requests,
)
from chat.selectors.rooms import room_state
from chat.services.joining import (
    Taken,
    change_invitation,
    create_invitation,
    decide_request,
    join_room,
    remove_invited,
    request_to_join,
    revoke_invitation,
    take_invitation,
    take_invitation_as_guest,
)
from chat.states import member_state, person_state
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol.states import RoomState


def _listed(room: Conversation) -> bodies.ListedRoom:
    return bodies.ListedRoom(
        **{name: getattr(room, name) for name in bodies.ListedRoom.model_fields}
    )


def _request(request: JoinRequest) -> bodies.RequestBody:
    return bodies.RequestBody(
        id=request.pk,
        conversation=request.conversation_id,
        user=person_state(request.user),
        text=request.text,
        invitation=request.invitation_id,
        created_at=request.created_at,
        accepted=request.accepted,
    )


def _invitation(invitation: Invitation) -> bodies.InvitationBody:
    return bodies.InvitationBody(
        id=invitation.pk,
        token=invitation_token(invitation),
        role=invitation.role,  # type: ignore[arg-type] # a role
        guests=invitation.guests,
        email=invitation.email,
        max_uses=invitation.max_uses,
        uses=invitation.uses,
        expires_at=invitation.expires_at,
        approval=invitation.approval,
        by=person_state(invitation.by),
        label=invitation.label,
        created_at=invitation.created_at,
    )


class RoomsView(APIView):
    """The directory."""

    @extend_schema(
        operation_id="rooms_list",
        parameters=[*ByActivity.parameters(), *query_parameters(bodies.DirectoryQuery)],
        responses={200: bodies.ListedRoomPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the rooms that are open or let people in by request; guests find none."""
        query = parse_query(bodies.DirectoryQuery, request)
        rooms = directory(person(request), query.q)
        return ByActivity.answer(request, self, rooms, _listed)


class JoinView(APIView):
    """A room to join."""

    @extend_schema(
        operation_id="rooms_join",
        request=None,
        responses={200: RoomState, **errors(401, 403, 404)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Join an open room; nothing happens if one is in it."""
        join_room(user=person(request), conversation_id=conversation_id)
        return answer(room_state(person(request).pk, conversation_id))


class RequestsView(APIView):
    """Who asks to be let in."""

    @extend_schema(
        operation_id="requests_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.RequestPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List the requests that wait to be decided."""
        waiting = open_requests(person(request), conversation_id)
        return ByCreation.answer(request, self, waiting, _request)

    @extend_schema(
        operation_id="requests_create",
        request=bodies.NewRequest,
        responses={201: bodies.RequestBody, **errors(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Ask to be let in; asking again changes nothing."""
        body = parse(bodies.NewRequest, request.data)
        asked = request_to_join(
            user=person(request), conversation_id=conversation_id, text=body.text.strip()
        )
        return answer(_request(asked), 201)


class RequestView(APIView):
    """A request to be let in."""

    @extend_schema(
        operation_id="requests_decide",
        request=bodies.Decision,
        responses={200: bodies.RequestBody, **errors(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, conversation_id: UUID, request_id: UUID) -> Response:
        """Let them in, or not; they are told."""
        body = parse(bodies.Decision, request.data)
        decided = decide_request(
            user=person(request),
            conversation_id=conversation_id,
            request_id=request_id,
            accept=body.accept,
        )
        return answer(_request(decided))


class InvitationsView(APIView):
    """Links into a room."""

    @extend_schema(
        operation_id="invitations_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.InvitationPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List the links that were not revoked: all of them for moderators, else one's own."""
        links = invitations_of(person(request), conversation_id)
        return ByCreation.answer(request, self, links, _invitation)

    @extend_schema(
        operation_id="invitations_create",
        request=bodies.NewInvitation,
        responses={201: bodies.InvitationBody, **errors(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Make a link."""
        body = parse(bodies.NewInvitation, request.data)
        made = create_invitation(
            user=person(request), conversation_id=conversation_id, **body.model_dump()
        )
        return answer(_invitation(made), 201)


class InvitationView(APIView):
    """A link into a room."""

    @extend_schema(
        operation_id="invitations_update",
        request=bodies.InvitationPatch,
        responses={200: bodies.InvitationBody, **errors(400, 401, 403, 404)},
    )
    def patch(self, request: Request, conversation_id: UUID, invitation_id: UUID) -> Response:
        """Change how long and how often it can be used, or make another text of it."""
        body = parse(bodies.InvitationPatch, request.data)
        changed = change_invitation(
            user=person(request),
            conversation_id=conversation_id,
            invitation_id=invitation_id,
            **body.model_dump(exclude_unset=True),
        )
        return answer(_invitation(changed))

    @extend_schema(
        operation_id="invitations_delete",
        responses={204: None, **errors(401, 403, 404)},
    )
    def delete(self, request: Request, conversation_id: UUID, invitation_id: UUID) -> Response:
        """Revoke it."""
        revoke_invitation(
            user=person(request), conversation_id=conversation_id, invitation_id=invitation_id
        )
        return Response(status=204)


class InvitedView(APIView):
    """Who came by a link."""

    @extend_schema(
        operation_id="invited_list",
        parameters=ByJoining.parameters(),
        responses={200: bodies.MemberPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, conversation_id: UUID, invitation_id: UUID) -> Response:
        """List who came by it and is still there."""
        came = members_by_invitation(person(request), conversation_id, invitation_id)
        return ByJoining.answer(request, self, came, member_state)

    @extend_schema(
        operation_id="invited_delete",
        responses={200: bodies.RemovedBody, **errors(401, 403, 404)},
    )
    def delete(self, request: Request, conversation_id: UUID, invitation_id: UUID) -> Response:
        """Revoke it and remove all who came by it, of a rank below one's own."""
        removed = remove_invited(
            user=person(request), conversation_id=conversation_id, invitation_id=invitation_id
        )
        return answer(bodies.RemovedBody(removed=removed))


class TakeInvitationView(APIView):
    """A link, as those who have it see it."""

    permission_classes = (AllowAny,)

    def get_throttles(self) -> list[BaseThrottle]:
        """Return those of looking, which costs nothing and tells strangers something, or taking."""
        self.throttle_scope = "preview" if self.request.method == "GET" else "guest"
        return super().get_throttles()

    @extend_schema(
        operation_id="invitation_preview",
        auth=[],
        responses={200: bodies.InvitationPreview, **errors(404, 429)},
    )
    def get(self, request: Request, token: str) -> Response:
        """Say where it leads."""
        found = invitation_by(token)
        room = found.conversation
        preview = bodies.InvitationPreview(
            title=room.title,
            topic_text=room.topic_text,
            avatar=room.avatar,
            by=found.by.name,
            people=room.people,
            role=found.role,  # type: ignore[arg-type] # a role
            guests=found.guests,
            approval=found.approval,
            history=room.history,  # type: ignore[arg-type] # a history
            for_one=bool(found.email),
        )
        return answer(preview)

    @extend_schema(
        operation_id="invitation_take",
        request=bodies.TakeInvitation,
        responses={200: bodies.TakenInvitation, **errors(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, token: str) -> Response:
        """Come in by it, or ask to; without a token, as a new guest."""
        body = parse(bodies.TakeInvitation, request.data)
        if isinstance(request.user, User):
            return _taken(request.user, take_invitation(user=request.user, token=token))
        if body.guest is None:
            raise NotSignedIn
        tokens, taken = take_invitation_as_guest(
            name=body.guest.name.strip(),
            token=token,
            user_agent=request.headers.get("User-Agent", ""),
        )
        return _taken(tokens.session.user, taken, tokens_body(tokens))


def _taken(user: User, taken: Taken, tokens: TokensBody | None = None) -> Response:
    body = bodies.TakenInvitation(
        conversation=room_state(user.pk, taken.conversation.pk) if taken.member else None,
        request=_request(taken.request) if taken.request is not None else None,
        tokens=tokens,
    )
    return answer(body)
