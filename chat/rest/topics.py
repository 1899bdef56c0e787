"""Over HTTP: a forum's topics, votes and accepted answers."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from accounts.authentication import person
from chat.rest import bodies
from chat.selectors.topics import topic_of, topic_page
from chat.services.reactions import vote
from chat.services.topics import accept_answer, change_topic, create_topic, withdraw_answer
from chat.states import message_state, topic_state
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from protocol.commands import TallyBody
from protocol.limits import PAGE


class TopicsView(APIView):
    """A forum's topics."""

    @extend_schema(
        operation_id="topics_list",
        parameters=query_parameters(bodies.TopicsQuery),
        responses={200: bodies.TopicPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List the topics of a forum, the pinned ones first."""
        query = parse_query(bodies.TopicsQuery, request)
        asked = query.model_dump(exclude={"limit"})
        limit = PAGE if query.limit is None else min(max(query.limit, 1), bodies.MAX_PAGE)
        page = topic_page(user=person(request), forum_id=conversation_id, limit=limit, **asked)
        here = request.build_absolute_uri()
        return answer(
            bodies.TopicPage(
                next=replace_query_param(here, "cursor", page.cursor) if page.cursor else None,
                results=[topic_state(topic) for topic in page.topics],
            )
        )

    @extend_schema(
        operation_id="topics_create",
        request=bodies.NewTopic,
        responses={
            201: bodies.BegunTopic,
            200: bodies.BegunTopic,
            **errors(400, 401, 403, 404, 409),
        },
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Begin a topic. 201 if this stored it, 200 if the same `client_id` already had."""
        body = parse(bodies.NewTopic, request.data)
        begun = create_topic(user=person(request), forum_id=conversation_id, **body.model_dump())
        return answer(
            bodies.BegunTopic(topic=topic_state(begun.topic), message=message_state(begun.message)),
            201 if begun.created else 200,
        )


class TopicView(APIView):
    """A topic, as its forum lists it."""

    @extend_schema(
        operation_id="topics_retrieve",
        responses={200: bodies.TopicBody, **errors(401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Read a topic."""
        return answer(
            bodies.TopicBody(topic=topic_state(topic_of(person(request), conversation_id)))
        )

    @extend_schema(
        operation_id="topics_update",
        request=bodies.TopicPatch,
        responses={200: bodies.TopicBody, **errors(400, 401, 403, 404)},
    )
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Change its title or tags, close, solve or pin it."""
        body = parse(bodies.TopicPatch, request.data)
        topic = change_topic(
            user=person(request),
            topic_id=conversation_id,
            **body.model_dump(exclude_unset=True, exclude_none=True),
        )
        return answer(bodies.TopicBody(topic=topic_state(topic)))


class VoteView(APIView):
    """One's own vote for a topic or an answer."""

    @extend_schema(
        operation_id="votes_put",
        request=None,
        responses={200: TallyBody, **errors(400, 401, 403, 404, 409)},
    )
    def put(self, request: Request, message_id: UUID) -> Response:
        """Vote; again is once. A topic is voted for by its first message."""
        return answer(TallyBody(tally=vote(user=person(request), message_id=message_id, on=True)))

    @extend_schema(
        operation_id="votes_delete",
        responses={200: TallyBody, **errors(400, 401, 403, 404)},
    )
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Take it back."""
        return answer(TallyBody(tally=vote(user=person(request), message_id=message_id, on=False)))


class AcceptView(APIView):
    """The answer that solved a topic."""

    @extend_schema(
        operation_id="answers_accept",
        request=bodies.Acceptance,
        responses={200: bodies.TopicBody, **errors(400, 401, 403, 404, 409)},
    )
    def put(self, request: Request, message_id: UUID) -> Response:
        """Accept an answer in place of `instead_of`: a conflict if another one is accepted."""
        body = parse(bodies.Acceptance, request.data)
        topic = accept_answer(
            user=person(request), message_id=message_id, instead_of=body.instead_of
        )
        return answer(bodies.TopicBody(topic=topic_state(topic)))

    @extend_schema(
        operation_id="answers_withdraw",
        responses={200: bodies.TopicBody, **errors(400, 401, 403, 404)},
    )
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Accept it no more."""
        topic = withdraw_answer(user=person(request), message_id=message_id)
        return answer(bodies.TopicBody(topic=topic_state(topic)))
