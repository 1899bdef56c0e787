"""Over HTTP: what one says of oneself."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from chat.rest import bodies
from chat.selectors.presence import own_status
from chat.services.presence import set_status
from core.rest import answer, parse
from core.schema import errors


class MyStatusView(APIView):
    """One's own status."""

    @extend_schema(
        operation_id="me_status_retrieve",
        responses={200: bodies.OwnStatus, **errors(401)},
    )
    def get(self, request: Request) -> Response:
        """Return what one says of oneself now."""
        return answer(bodies.OwnStatus(status=own_status(person(request))))

    @extend_schema(
        operation_id="me_status_update",
        request=bodies.StatusBody,
        responses={200: bodies.OwnStatus, **errors(400, 401)},
    )
    def put(self, request: Request) -> Response:
        """Say something of oneself; with neither text nor emoji, nothing any more."""
        body = parse(bodies.StatusBody, request.data)
        status = set_status(user=person(request), **body.model_dump())
        return answer(bodies.OwnStatus(status=status))
