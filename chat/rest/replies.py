"""Over HTTP: a reply to stop, to make anew, or to go on with."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.services.reply_actions import continue_reply, regenerate, request_stop
from chat.states import message_state
from core.rest import answer
from core.schema import errors
from protocol.commands import MessageBody


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
