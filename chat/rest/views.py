"""The HTTP edge: each view checks its input and calls one service or selector."""

from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from chat.rest import bodies
from chat.rest.bodies import conversation_item, parse
from chat.rest.pagination import ByActivity, ByCreation, ByJoining
from chat.selectors.conversations import (
    active_assistants,
    members_of,
    visible_conversation,
    visible_conversations,
)
from chat.selectors.messages import message_page, visible_message
from chat.selectors.sync import changes_since
from chat.services.conversations import (
    create_conversation,
    delete_conversation,
    rename_conversation,
)
from chat.services.members import add_member, change_member, mark_read, remove_member
from chat.services.messages import SentMessage, edit_message, send_message
from chat.services.reply_actions import continue_reply, regenerate, request_stop
from chat.states import assistant_state, member_state, message_state
from chat.unread import unread_of_user
from core.errors import Invalid
from core.schema import errors
from protocol import limits
from protocol.states import Changes, MemberState, MessageState

MAX_PAGE = 200
_CURSOR = OpenApiParameter("cursor", str, description="From `next` or `previous`.")


def _person(request: Request) -> User:
    user = request.user
    if not isinstance(user, User):
        raise NotAuthenticated
    return user


def _body(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump(mode="json"), status=status)


def _number(request: Request, name: str) -> int | None:
    """Return a query parameter as a whole number from 0. Raises Invalid."""
    raw = request.query_params.get(name)
    if raw is None or raw == "":
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) < 19):
        raise Invalid(
            fields=[{"field": name, "code": "invalid", "message": "must be a whole number from 0"}]
        )
    return int(raw)


def _number_parameter(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.INT64, description=description)


def _item(request: Request, conversation_id: UUID) -> bodies.ConversationItem:
    conversation = visible_conversation(_person(request), conversation_id)
    unread = unread_of_user(_person(request).pk, [conversation_id])
    return conversation_item(conversation, unread[conversation_id])


def _sent(sent: SentMessage) -> Response:
    answer = bodies.SentMessageBody(
        message=message_state(sent.message),
        reply=message_state(sent.reply) if sent.reply is not None else None,
    )
    return _body(answer, 201 if sent.created else 200)


class AssistantsView(APIView):
    """The assistants one may talk to."""

    @extend_schema(
        operation_id="assistants_list",
        parameters=[_CURSOR],
        responses={200: bodies.AssistantPage, **errors(401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the assistants that are switched on."""
        pages = ByCreation()
        rows = pages.paginate_queryset(active_assistants(), request, self)
        return pages.get_paginated_response(
            [assistant_state(row).model_dump(mode="json") for row in rows or []]
        )


class ConversationsView(APIView):
    """One's own conversations."""

    @extend_schema(
        operation_id="conversations_list",
        parameters=[_CURSOR],
        responses={200: bodies.ConversationPage, **errors(401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the conversations one is a member of, newest activity first."""
        pages = ByActivity()
        rows = pages.paginate_queryset(visible_conversations(_person(request)), request, self) or []
        unread = unread_of_user(_person(request).pk, [row.pk for row in rows])
        return pages.get_paginated_response(
            [conversation_item(row, unread[row.pk]).model_dump(mode="json") for row in rows]
        )

    @extend_schema(
        operation_id="conversations_create",
        request=bodies.NewConversation,
        responses={201: bodies.ConversationItem, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """Open a conversation."""
        body = parse(bodies.NewConversation, request.data)
        made = create_conversation(user=_person(request), **body.model_dump())
        return _body(_item(request, made.pk), 201)


class ConversationView(APIView):
    """A conversation."""

    @extend_schema(
        operation_id="conversations_retrieve",
        responses={200: bodies.ConversationItem, **errors(401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Read a conversation."""
        return _body(_item(request, conversation_id))

    @extend_schema(
        operation_id="conversations_update",
        request=bodies.ConversationPatch,
        responses={200: bodies.ConversationItem, **errors(400, 401, 403, 404)},
    )
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Change its title."""
        body = parse(bodies.ConversationPatch, request.data)
        rename_conversation(
            user=_person(request), conversation_id=conversation_id, title=body.title.strip()
        )
        return _body(_item(request, conversation_id))

    @extend_schema(
        operation_id="conversations_delete",
        responses={204: None, **errors(401, 403, 404)},
    )
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """Delete it and all that was said in it."""
        delete_conversation(user=_person(request), conversation_id=conversation_id)
        return Response(status=204)


class MessagesView(APIView):
    """What was said in a conversation."""

    @extend_schema(
        operation_id="messages_list",
        parameters=[
            _number_parameter("before", "Only messages whose `created_seq` is smaller."),
            _number_parameter("after", "Only messages whose `created_seq` is greater."),
            _number_parameter("limit", f"How many at most: 1 to {MAX_PAGE}, else 50."),
        ],
        responses={200: bodies.MessagePageBody, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Page through history; with neither `before` nor `after`, the newest."""
        limit = _number(request, "limit")
        page = message_page(
            user=_person(request),
            conversation_id=conversation_id,
            before=_number(request, "before"),
            after=_number(request, "after"),
            limit=min(max(limit, 1), MAX_PAGE) if limit is not None else limits.PAGE,
        )
        return _body(
            bodies.MessagePageBody(
                results=[message_state(message) for message in page.messages],
                more_before=page.more_before,
                more_after=page.more_after,
            )
        )

    @extend_schema(
        operation_id="messages_create",
        request=bodies.NewMessage,
        responses={
            201: bodies.SentMessageBody,
            200: bodies.SentMessageBody,
            **errors(400, 401, 404, 409),
        },
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Say something. 201 if this stored it, 200 if the same `client_id` already had."""
        body = parse(bodies.NewMessage, request.data)
        sent = send_message(
            user=_person(request), conversation_id=conversation_id, **body.model_dump()
        )
        return _sent(sent)


class ChangesView(APIView):
    """What a client lacks."""

    @extend_schema(
        operation_id="conversations_changes",
        parameters=[_number_parameter("since", "The last `seq` known; absent: a first load.")],
        responses={200: Changes, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Return the rows changed since; the same answer as `subscribe` gives."""
        changes = changes_since(
            user=_person(request), conversation_id=conversation_id, since=_number(request, "since")
        )
        return _body(changes)


class ReadView(APIView):
    """How far one has read."""

    @extend_schema(
        operation_id="conversations_read",
        request=bodies.ReadMark,
        responses={200: MemberState, **errors(400, 401, 404)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Mark everything up to `seq` as read."""
        body = parse(bodies.ReadMark, request.data)
        member = mark_read(user=_person(request), conversation_id=conversation_id, seq=body.seq)
        return _body(member_state(member))


class MembersView(APIView):
    """Who is in a conversation."""

    @extend_schema(
        operation_id="members_list",
        parameters=[_CURSOR],
        responses={200: bodies.MemberPage, **errors(401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List the present members, in joining order."""
        pages = ByJoining()
        rows = pages.paginate_queryset(members_of(_person(request), conversation_id), request, self)
        return pages.get_paginated_response(
            [member_state(row).model_dump(mode="json") for row in rows or []]
        )

    @extend_schema(
        operation_id="members_create",
        request=bodies.NewMember,
        responses={201: MemberState, **errors(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Add a person."""
        body = parse(bodies.NewMember, request.data)
        member = add_member(
            user=_person(request), conversation_id=conversation_id, person=body.user
        )
        return _body(member_state(member), 201)


class MemberView(APIView):
    """One member."""

    @extend_schema(
        operation_id="members_update",
        request=bodies.MemberPatch,
        responses={200: MemberState, **errors(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Change a role, a nickname or what one is notified of."""
        body = parse(bodies.MemberPatch, request.data)
        member = change_member(
            user=_person(request),
            conversation_id=conversation_id,
            member_id=member_id,
            **body.model_dump(),
        )
        return _body(member_state(member))

    @extend_schema(
        operation_id="members_delete",
        responses={204: None, **errors(401, 403, 404, 409)},
    )
    def delete(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Remove a member, or leave."""
        remove_member(user=_person(request), conversation_id=conversation_id, member_id=member_id)
        return Response(status=204)


class MessageView(APIView):
    """One message."""

    @extend_schema(
        operation_id="messages_retrieve",
        responses={200: MessageState, **errors(401, 404)},
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """Read a message."""
        return _body(message_state(visible_message(_person(request), message_id)))

    @extend_schema(
        operation_id="messages_update",
        request=bodies.MessagePatch,
        responses={
            201: bodies.SentMessageBody,
            200: bodies.SentMessageBody,
            **errors(400, 401, 403, 404, 409),
        },
    )
    def patch(self, request: Request, message_id: UUID) -> Response:
        """Reword a message of one's own.

        With an assistant that begins a branch, with a reply of its own: 201, or 200 if the same
        `client_id` already had. Elsewhere the message is changed in place: 200.
        """
        body = parse(bodies.MessagePatch, request.data)
        return _sent(
            edit_message(user=_person(request), message_id=message_id, **body.model_dump())
        )


class StopView(APIView):
    """A reply to stop."""

    @extend_schema(
        operation_id="messages_stop",
        request=None,
        responses={200: bodies.MessageBody, **errors(400, 401, 404)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Stop a reply, wherever it is being written; its text so far is kept."""
        message = request_stop(user=_person(request), message_id=message_id)
        return _body(bodies.MessageBody(message=message_state(message)))


class RegenerateView(APIView):
    """A reply to make anew."""

    @extend_schema(
        operation_id="messages_regenerate",
        request=None,
        responses={201: bodies.MessageBody, **errors(400, 401, 404, 409)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Start a sibling of a reply: another answer to the same turn."""
        message = regenerate(user=_person(request), message_id=message_id)
        return _body(bodies.MessageBody(message=message_state(message)), 201)


class ContinueView(APIView):
    """A reply to go on with."""

    @extend_schema(
        operation_id="messages_continue",
        request=None,
        responses={200: bodies.MessageBody, **errors(400, 401, 404, 409)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Let a reply that ended before its time go on from where it ended."""
        message = continue_reply(user=_person(request), message_id=message_id)
        return _body(bodies.MessageBody(message=message_state(message)))
