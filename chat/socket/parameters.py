"""The dynamic parameters of the socket routes: checked, named once, with their older names."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from protocol.fields import Language, ModelName, Slug, Whole, field_errors


class BadParameters(ValueError):
    """The query string has a parameter that is unknown, repeated or out of range."""

    def __init__(self, fields: list[dict[str, str]]) -> None:
        self.details = {"fields": fields}
        super().__init__("The address has parameters that cannot be used.")


class Parameters(BaseModel):
    """What a client may say in the address: defaults for the messages it sends, and who it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    assistant: Slug | None = Field(
        default=None, validation_alias=AliasChoices("assistant", "character_id")
    )
    model: ModelName | None = Field(default=None, validation_alias=AliasChoices("model", "llm"))
    language: Annotated[Language, Field(min_length=1)] | None = None
    platform: Annotated[str, Field(pattern=r"^[\w .-]{1,40}$")] | None = None
    chatmode: Annotated[str, Field(pattern="^text$")] | None = None
    since: Whole | None = None

    def defaults(self) -> dict[str, Any]:
        """Return what messages of this socket use where they say nothing else."""
        chosen = {"assistant": self.assistant, "model": self.model, "language": self.language}
        return {name: value for name, value in chosen.items() if value is not None}


def parse_parameters(query: dict[str, list[str]]) -> Parameters:
    """Check a parsed query string; `token` was the middleware's. Raises BadParameters."""
    values: dict[str, str] = {}
    for name, given in query.items():
        if name == "token":
            continue
        if len(given) > 1:
            raise BadParameters(
                [{"field": name[:40], "code": "repeated", "message": "given twice"}]
            )
        values[name] = given[0]
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        raise BadParameters(field_errors(error)) from None
