"""The kinds of values that frames are made of."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from protocol.limits import MAX_CONTENT, MAX_TITLE


class Frame(BaseModel):
    """Whatever goes over the wire: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str) and "\x00" in value:
        # Postgres cannot store it, and no one means to send it.
        raise ValueError("the character U+0000 is not allowed")
    return value


def _not_blank(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be blank")
    return value


Text = Annotated[str, BeforeValidator(_without_nul)]
Content = Annotated[
    str,
    BeforeValidator(_without_nul),
    BeforeValidator(_not_blank),
    Field(min_length=1, max_length=MAX_CONTENT),
]
Title = Annotated[str, BeforeValidator(_without_nul), Field(max_length=MAX_TITLE)]
ClientId = Annotated[
    str,
    BeforeValidator(_without_nul),
    Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$"),
]
ModelName = Annotated[str, BeforeValidator(_without_nul), Field(min_length=1, max_length=120)]
CommandId = Annotated[str, Field(min_length=1, max_length=64)]
Seq = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]

Kind = Literal["assistant", "group", "discussion"]
Role = Literal["owner", "admin", "member"]
Level = Literal["all", "mentions", "none"]
Speaker = Literal["user", "assistant", "system"]
Status = Literal["complete", "pending", "streaming", "failed", "cancelled", "interrupted"]
