"""Over HTTP: people one may write to."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from accounts.models import User
from chat.rest import bodies
from chat.rest.pagination import ByUsername
from chat.selectors.people import people_known_to
from core.rest import parse_query
from core.schema import errors, query_parameters


def _person(user: User) -> bodies.KnownPerson:
    return bodies.KnownPerson(
        id=user.pk,
        name=user.name,
        is_guest=user.is_guest,
        username="" if user.is_guest else user.username,
    )


class PeopleView(APIView):
    """Other people."""

    @extend_schema(
        operation_id="people_list",
        parameters=[*ByUsername.parameters(), *query_parameters(bodies.PeopleQuery)],
        responses={200: bodies.PeoplePage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the people one may write to; guests know those in their rooms only."""
        query = parse_query(bodies.PeopleQuery, request)
        people = people_known_to(person(request), q=query.q, ids=query.people)
        return ByUsername.answer(request, self, people, _person)
