"""Parts of the OpenAPI schema that every app shares."""

from drf_spectacular.utils import OpenApiParameter, extend_schema_serializer
from pydantic import BaseModel
from rest_framework import serializers


@extend_schema_serializer(component_name="Error")
class ErrorSerializer(serializers.Serializer[dict[str, object]]):
    """The one shape of every error; see `core.errors`."""

    code = serializers.CharField(help_text="What went wrong, for programs.")
    message = serializers.CharField(help_text="What went wrong, for people.")
    details = serializers.DictField(
        help_text="More, by code; of `invalid`: `fields`, each with `field`, `code`, `message`."
    )


def errors(*statuses: int) -> dict[int, type[ErrorSerializer]]:
    """Return the responses of `extend_schema` for errors of these statuses."""
    return dict.fromkeys(statuses, ErrorSerializer)


def query_parameters(query: type[BaseModel]) -> list[OpenApiParameter]:
    """Return the parameters of `extend_schema` for what `parse_query` reads as `query`."""
    schema = query.model_json_schema()
    return [
        OpenApiParameter(
            name,
            {key: value for key, value in field.items() if key not in ("title", "description")},
            description=field.get("description", ""),
            required=name in schema.get("required", ()),
        )
        for name, field in schema["properties"].items()
    ]
