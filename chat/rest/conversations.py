"""Over HTTP: conversations, assistants to have them with, and what one alone sees of them."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.rest import bodies
from chat.rest.pagination import ByActivity, ByCreation
from chat.selectors.conversations import active_assistants, visible_conversations
from chat.selectors.rooms import person_changes, room_state, room_states
from chat.selectors.sync import changes_since
from chat.services.conversations import (
    archive_conversation,
    change_conversation,
    create_conversation,
    delete_conversation,
    open_direct,
    unarchive_conversation,
)
from chat.services.mine import change_mine, mark_read, mark_unread
from chat.services.topic_views import count_view
from chat.states import assistant_state
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol.commands import MineBody, ReadMark
from protocol.states import Changes, PersonChanges, RoomState


def _item(request: Request, conversation_id: UUID) -> RoomState:
    return room_state(person(request).pk, conversation_id)


class AssistantsView(APIView):
    """The assistants one may talk to."""

    @extend_schema(
        operation_id="assistants_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.AssistantPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the assistants that are switched on."""
        return ByCreation.answer(request, self, active_assistants(), assistant_state)


class ConversationsView(APIView):
    """One's own conversations."""

    @extend_schema(
        operation_id="conversations_list",
        parameters=ByActivity.parameters(),
        responses={200: bodies.ConversationPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the conversations one is a member of, newest activity first."""
        pages = ByActivity()
        rows = pages.paginate_queryset(visible_conversations(person(request)), request, self) or []
        rooms = room_states(person(request).pk, [row.pk for row in rows])
        return pages.get_paginated_response([room.model_dump(mode="json") for room in rooms])

    @extend_schema(
        operation_id="conversations_create",
        request=bodies.NewConversation,
        responses={201: RoomState, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """Open a conversation."""
        body = parse(bodies.NewConversation, request.data)
        made = create_conversation(user=person(request), **body.model_dump(exclude_unset=True))
        return answer(_item(request, made.pk), 201)


class ConversationView(APIView):
    """A conversation."""

    @extend_schema(
        operation_id="conversations_retrieve",
        responses={200: RoomState, **errors(401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Read a conversation."""
        return answer(_item(request, conversation_id))

    @extend_schema(
        operation_id="conversations_update",
        request=bodies.ConversationPatch,
        responses={200: RoomState, **errors(400, 401, 403, 404)},
    )
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Change what it is called and about, who comes in, what they read, and who may what."""
        body = parse(bodies.ConversationPatch, request.data)
        values = body.model_dump(exclude_unset=True)
        for name in ("title", "topic_text", "avatar"):
            if name in values:
                values[name] = values[name].strip()
        change_conversation(user=person(request), conversation_id=conversation_id, **values)
        return answer(_item(request, conversation_id))

    @extend_schema(
        operation_id="conversations_delete",
        responses={204: None, **errors(401, 403, 404)},
    )
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """Delete it and all that was said in it."""
        delete_conversation(user=person(request), conversation_id=conversation_id)
        return Response(status=204)


class ArchiveView(APIView):
    """An end to what is said."""

    @extend_schema(
        operation_id="conversations_archive",
        request=None,
        responses={200: RoomState, **errors(401, 403, 404)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Let it be read only."""
        archive_conversation(user=person(request), conversation_id=conversation_id)
        return answer(_item(request, conversation_id))


class UnarchiveView(APIView):
    """A new beginning."""

    @extend_schema(
        operation_id="conversations_unarchive",
        request=None,
        responses={200: RoomState, **errors(401, 403, 404)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Let it go on."""
        unarchive_conversation(user=person(request), conversation_id=conversation_id)
        return answer(_item(request, conversation_id))


class DirectView(APIView):
    """Conversations of a few people, by who they are."""

    @extend_schema(
        operation_id="direct_open",
        request=bodies.Direct,
        responses={201: RoomState, 200: RoomState, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """Open the one conversation of these people: 201 if this made it."""
        body = parse(bodies.Direct, request.data)
        conversation, made = open_direct(user=person(request), people=body.people)
        return answer(_item(request, conversation.pk), 201 if made else 200)


class ChangesView(APIView):
    """What a client lacks."""

    @extend_schema(
        operation_id="conversations_changes",
        parameters=query_parameters(bodies.SinceQuery),
        responses={200: Changes, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Return the rows changed since; the same answer as `subscribe` gives."""
        query = parse_query(bodies.SinceQuery, request)
        changes = changes_since(
            user=person(request), conversation_id=conversation_id, since=query.since
        )
        count_view(person(request), changes)
        return answer(changes)


class MyChangesView(APIView):
    """What is new in one's own list."""

    @extend_schema(
        operation_id="me_changes",
        parameters=query_parameters(bodies.MyChangesQuery),
        responses={200: PersonChanges, **errors(400, 401)},
    )
    def get(self, request: Request) -> Response:
        """Return what is new since; without parameters, all that an application begins with."""
        query = parse_query(bodies.MyChangesQuery, request)
        return answer(person_changes(user=person(request), **query.model_dump()))


class ReadView(APIView):
    """How far one has read."""

    @extend_schema(
        operation_id="conversations_read",
        request=ReadMark,
        responses={200: MineBody, **errors(400, 401, 404)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Mark everything up to `number` as read."""
        body = parse(ReadMark, request.data)
        mine = mark_read(user=person(request), conversation_id=conversation_id, number=body.number)
        return answer(MineBody(mine=mine))


class UnreadView(APIView):
    """From where one has yet to read."""

    @extend_schema(
        operation_id="conversations_unread",
        request=bodies.UnreadMark,
        responses={200: MineBody, **errors(400, 401, 404)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Let a message be unread again, and all after it."""
        body = parse(bodies.UnreadMark, request.data)
        mine = mark_unread(
            user=person(request), conversation_id=conversation_id, message_id=body.message
        )
        return answer(MineBody(mine=mine))


class MineView(APIView):
    """What one alone sees of a conversation."""

    @extend_schema(
        operation_id="conversations_mine",
        request=bodies.MinePatch,
        responses={200: MineBody, **errors(400, 401, 404)},
    )
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Set what one is notified of, until when it is silent, or its place among the pinned."""
        body = parse(bodies.MinePatch, request.data)
        mine = change_mine(
            user=person(request),
            conversation_id=conversation_id,
            **body.model_dump(exclude_unset=True),
        )
        return answer(MineBody(mine=mine))
