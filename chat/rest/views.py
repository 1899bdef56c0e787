"""The HTTP edge: each view checks its input and calls one service or selector."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.rest import bodies
from chat.rest.pagination import ByActivity, ByCreation, ByJoining, ByReacting
from chat.selectors.conversations import (
    active_assistants,
    members_of,
    visible_conversations,
)
from chat.selectors.messages import message_page, visible_message
from chat.selectors.rooms import person_changes, room_state, room_states
from chat.selectors.sync import changes_since
from chat.selectors.tallies import reactions_to, tallies_of
from chat.services.conversations import (
    archive_conversation,
    change_conversation,
    create_conversation,
    delete_conversation,
    open_direct,
    unarchive_conversation,
)
from chat.services.members import add_member, change_member, remove_member
from chat.services.messages import SentMessage, delete_message, edit_message, send_message
from chat.services.mine import change_mine, mark_read
from chat.services.reactions import react
from chat.services.reply_actions import continue_reply, regenerate, request_stop
from chat.states import assistant_state, member_state, message_state, person_state
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol import limits
from protocol.commands import (
    MessageBody,
    MessagePatch,
    MineBody,
    NewMessage,
    ReadMark,
    SentMessageBody,
    TallyBody,
)
from protocol.states import Changes, MemberState, MessageState, PersonChanges, RoomState


def _item(request: Request, conversation_id: UUID) -> RoomState:
    return room_state(person(request).pk, conversation_id)


def _sent(sent: SentMessage) -> Response:
    body = SentMessageBody(
        message=message_state(sent.message),
        reply=message_state(sent.reply) if sent.reply is not None else None,
    )
    return answer(body, 201 if sent.created else 200)


class AssistantsView(APIView):
    """The assistants one may talk to."""

    @extend_schema(
        operation_id="assistants_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.AssistantPage, **errors(400, 401, 404)},
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


class MessagesView(APIView):
    """What was said in a conversation."""

    @extend_schema(
        operation_id="messages_list",
        parameters=query_parameters(bodies.HistoryQuery),
        responses={200: bodies.MessagePageBody, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Page through history; with neither `before` nor `after`, the newest."""
        query = parse_query(bodies.HistoryQuery, request)
        page = message_page(
            user=person(request),
            conversation_id=conversation_id,
            before=query.before,
            after=query.after,
            limit=limits.PAGE if query.limit is None else min(max(query.limit, 1), bodies.MAX_PAGE),
        )
        return answer(
            bodies.MessagePageBody(
                results=[message_state(message) for message in page.messages],
                tallies=tallies_of(person(request), [message.pk for message in page.messages]),
                more_before=page.more_before,
                more_after=page.more_after,
            )
        )

    @extend_schema(
        operation_id="messages_create",
        request=NewMessage,
        responses={
            201: SentMessageBody,
            200: SentMessageBody,
            **errors(400, 401, 404, 409),
        },
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Say something. 201 if this stored it, 200 if the same `client_id` already had."""
        body = parse(NewMessage, request.data)
        sent = send_message(
            user=person(request), conversation_id=conversation_id, **body.model_dump()
        )
        return _sent(sent)


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
        pages = ByJoining()
        members = members_of(person(request), conversation_id, **query.model_dump())
        rows = pages.paginate_queryset(members, request, self)
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


class MessageView(APIView):
    """One message."""

    @extend_schema(
        operation_id="messages_retrieve",
        responses={200: MessageState, **errors(401, 404)},
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """Read a message."""
        return answer(message_state(visible_message(person(request), message_id)))

    @extend_schema(
        operation_id="messages_update",
        request=MessagePatch,
        responses={
            201: SentMessageBody,
            200: SentMessageBody,
            **errors(400, 401, 403, 404, 409),
        },
    )
    def patch(self, request: Request, message_id: UUID) -> Response:
        """Reword a message of one's own.

        With an assistant that begins a branch, with a reply of its own: 201, or 200 if the same
        `client_id` already had. Elsewhere the message is changed in place: 200.
        """
        body = parse(MessagePatch, request.data)
        return _sent(edit_message(user=person(request), message_id=message_id, **body.model_dump()))

    @extend_schema(
        operation_id="messages_delete",
        responses={200: MessageBody, **errors(401, 403, 404)},
    )
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Delete a message of one's own, or as a manager any: its place stays, its text is gone."""
        message = delete_message(user=person(request), message_id=message_id)
        return answer(MessageBody(message=message_state(message)))


class ReactionsView(APIView):
    """Who reacted to a message."""

    @extend_schema(
        operation_id="reactions_list",
        parameters=[*ByReacting.parameters(), *query_parameters(bodies.ReactionsQuery)],
        responses={200: bodies.ReactionPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """List the reactions to a message, with one emoji or any, the first given first."""
        query = parse_query(bodies.ReactionsQuery, request)
        pages = ByReacting()
        reactions = reactions_to(person(request), message_id, emoji=query.emoji)
        rows = pages.paginate_queryset(reactions, request, self)
        items = [
            bodies.ReactionItem(
                emoji=row.emoji, user=person_state(row.user), created_at=row.created_at
            )
            for row in rows or []
        ]
        return pages.get_paginated_response([item.model_dump(mode="json") for item in items])


class ReactionView(APIView):
    """One's own reaction to a message."""

    @extend_schema(
        operation_id="reactions_put",
        request=None,
        responses={200: TallyBody, **errors(400, 401, 404, 409)},
    )
    def put(self, request: Request, message_id: UUID, emoji: str) -> Response:
        """Give an emoji to a message; again is once."""
        return self._react(request, message_id, emoji, on=True)

    @extend_schema(
        operation_id="reactions_delete",
        responses={200: TallyBody, **errors(400, 401, 404)},
    )
    def delete(self, request: Request, message_id: UUID, emoji: str) -> Response:
        """Take it back."""
        return self._react(request, message_id, emoji, on=False)

    @staticmethod
    def _react(request: Request, message_id: UUID, emoji: str, *, on: bool) -> Response:
        spelt = parse(bodies.ReactionEmoji, {"emoji": emoji}).emoji
        tally = react(user=person(request), message_id=message_id, emoji=spelt, on=on)
        return answer(TallyBody(tally=tally))


class StopView(APIView):
    """A reply to stop."""

    @extend_schema(
        operation_id="messages_stop",
        request=None,
        responses={200: MessageBody, **errors(400, 401, 404)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Stop a reply, wherever it is being written; its text so far is kept."""
        message = request_stop(user=person(request), message_id=message_id)
        return answer(MessageBody(message=message_state(message)))


class RegenerateView(APIView):
    """A reply to make anew."""

    @extend_schema(
        operation_id="messages_regenerate",
        request=None,
        responses={201: MessageBody, **errors(400, 401, 404, 409)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Start a sibling of a reply: another answer to the same turn."""
        message = regenerate(user=person(request), message_id=message_id)
        return answer(MessageBody(message=message_state(message)), 201)


class ContinueView(APIView):
    """A reply to go on with."""

    @extend_schema(
        operation_id="messages_continue",
        request=None,
        responses={200: MessageBody, **errors(400, 401, 404, 409)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Let a reply that ended before its time go on from where it ended."""
        message = continue_reply(user=person(request), message_id=message_id)
        return answer(MessageBody(message=message_state(message)))
