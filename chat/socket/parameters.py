"""The dynamic parameters of the socket routes: checked, named once, with their older names."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from chat.selectors.conversations import active_assistants, offers
from protocol.fields import Language, ModelName, Slug, Whole, field_errors, member_errors


class BadParameters(ValueError):
    """A parameter is unknown, repeated or out of range, or names what there is not."""

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
    if problems := member_errors(values):
        raise BadParameters(problems)
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        raise BadParameters(field_errors(error)) from None


def require_offered(parameters: Parameters) -> None:
    """Raise BadParameters unless there is such an assistant, and it offers such a model.

    Where no assistant is named, any may offer it: which one answers depends on the conversation.
    """
    slug, model = parameters.assistant, parameters.model
    if slug is None and model is None:
        return
    assistants = active_assistants()
    chosen = list(assistants if slug is None else assistants.filter(slug=slug))
    if slug is not None and not chosen:
        raise _unknown("assistant", "There is no such assistant.")
    if model is not None and not any(offers(one, model) for one in chosen):
        raise _unknown("model", "This model is not offered.")


def _unknown(field: str, message: str) -> BadParameters:
    return BadParameters([{"field": field, "code": "unknown", "message": message}])
