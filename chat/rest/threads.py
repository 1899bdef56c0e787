"""Over HTTP: what hangs on messages, and which of that one follows."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.rest import bodies
from chat.rest.pagination import ByActivity
from chat.selectors.threads import followed_threads, thread_of, threads
from chat.services.threads import reply_in_thread
from chat.states import conversation_state, message_state
from core.rest import answer, parse
from core.schema import errors
from protocol.commands import NewReply


class ThreadView(APIView):
    """The thread of a message."""

    @extend_schema(
        operation_id="thread_retrieve",
        responses={200: bodies.ThreadBody, **errors(401, 404)},
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """Read what hangs on a message; its own messages are those of the conversation it is."""
        found = thread_of(person(request), message_id)
        return answer(bodies.ThreadBody(root=message_state(found.root), thread=found.room))

    @extend_schema(
        operation_id="thread_reply",
        request=NewReply,
        responses={
            201: bodies.SentInThread,
            200: bodies.SentInThread,
            **errors(400, 401, 403, 404, 409),
        },
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Reply in a thread; the first reply makes it.

        201 if this stored it, 200 if the same `client_id` already had.
        """
        body = parse(NewReply, request.data)
        done = reply_in_thread(user=person(request), message_id=message_id, **body.model_dump())
        sent = done.sent
        return answer(
            bodies.SentInThread(
                thread=conversation_state(done.thread),
                message=message_state(sent.message),
                reply=message_state(sent.reply) if sent.reply is not None else None,
                in_room=message_state(done.in_room) if done.in_room is not None else None,
            ),
            201 if sent.created else 200,
        )


class MyThreadsView(APIView):
    """The threads one follows."""

    @extend_schema(
        operation_id="me_threads",
        parameters=ByActivity.parameters(),
        responses={200: bodies.ThreadPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the threads that one follows, newest activity first."""
        user, pages = person(request), ByActivity()
        rows = pages.paginate_queryset(followed_threads(user), request, self) or []
        return pages.get_paginated_response(
            [
                bodies.ThreadItem(thread=found.room, root=message_state(found.root)).model_dump(
                    mode="json"
                )
                for found in threads(user, rows)
                if found.room is not None
            ]
        )
