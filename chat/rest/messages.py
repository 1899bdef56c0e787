"""Over HTTP: what is said, and the reactions to it."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.models import Reaction
from chat.rest import bodies
from chat.rest.pagination import ByReacting
from chat.selectors.messages import message_page, visible_message
from chat.selectors.tallies import reactions_to, tallies_of
from chat.services.messages import SentMessage, delete_message, edit_message, send_message
from chat.services.reactions import react
from chat.states import message_state, person_state
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol import limits
from protocol.commands import MessageBody, MessagePatch, NewMessage, SentMessageBody, TallyBody
from protocol.states import MessageState


def _sent(sent: SentMessage) -> Response:
    body = SentMessageBody(
        message=message_state(sent.message),
        reply=message_state(sent.reply) if sent.reply is not None else None,
    )
    return answer(body, 201 if sent.created else 200)


def _reaction(reaction: Reaction) -> bodies.ReactionItem:
    return bodies.ReactionItem(
        emoji=reaction.emoji, user=person_state(reaction.user), created_at=reaction.created_at
    )


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
            **errors(400, 401, 403, 404, 409, 429),
        },
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Say something. 201 if this stored it, 200 if the same `client_id` already had."""
        body = parse(NewMessage, request.data)
        sent = send_message(
            user=person(request), conversation_id=conversation_id, **body.model_dump()
        )
        return _sent(sent)


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
        """Delete a message of one's own, or as a moderator any: its place stays, its text goes.

        With a reason: `POST .../removal/`.
        """
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
        reactions = reactions_to(person(request), message_id, emoji=query.emoji)
        return ByReacting.answer(request, self, reactions, _reaction)


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
