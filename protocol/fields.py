"""The kinds of values that frames, request bodies and address parameters are made of.

One input has one type, whether it comes by REST, by socket or by address.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationError

from protocol.limits import MAX_CONTENT, MAX_MEMBERS, MAX_TAGS, MAX_TITLE


def _storable(value: Any) -> Any:
    """Refuse what PostgreSQL cannot store or UTF-8 cannot carry; no one means to send it."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("the character U+0000 is not allowed")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair is not a character") from None
    return value


def _integral(value: Any) -> Any:
    """Take `5.0` for 5: JSON has one type of number, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digits(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 20):
        raise ValueError("must be a whole number from 0")
    return value


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the calendar") from None


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


# One emoji as Unicode's UTS 51 builds them: flags, keycaps, and others with a skin tone, tags and
# what is joined to them. Or the name of one of an installation's own.
_PICTURE = (
    "[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001faff][\U0001f3fb-\U0001f3ff]?"
)
_EMOJI = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}|[0-9#*]\u20e3"
    f"|{_PICTURE}[\U000e0020-\U000e007f]*(\u200d{_PICTURE})*"
    "|:[a-z0-9_+-]{1,30}:"
)


def _emoji(value: Any) -> Any:
    """Return an emoji in its one spelling. Variation selectors make two strings of one picture."""
    if not isinstance(value, str):
        return value
    spelt = unicodedata.normalize("NFC", value).replace("\ufe0f", "")
    if not _EMOJI.fullmatch(spelt):
        raise ValueError("must be one emoji, or the name of one as :name:")
    return spelt


# Written after the bounds, which are so part of every schema; looked at before them.
STORABLE = BeforeValidator(_storable)

Text = Annotated[str, STORABLE]
Content = Annotated[
    str, Field(min_length=1, max_length=MAX_CONTENT), STORABLE, AfterValidator(_not_blank)
]
Title = Annotated[str, Field(max_length=MAX_TITLE), STORABLE]
Nickname = Annotated[str, Field(max_length=80), STORABLE]
ClientId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$"), STORABLE]
Slug = Annotated[str, Field(min_length=1, max_length=60), STORABLE]
ModelName = Annotated[str, Field(min_length=1, max_length=120), STORABLE]
# A BCP 47 tag; RFC 5646 asks to support 35 characters. Empty: whatever is chosen already.
Language = Annotated[
    str, Field(max_length=35, pattern=r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$"), STORABLE
]
CommandId = Annotated[str, Field(min_length=1, max_length=64), STORABLE]
Seq = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True), BeforeValidator(_integral)]
# A whole number in an address, where everything is text: digits and nothing else.
Whole = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(_digits)]

# With its offset, of which PostgreSQL takes fewer than others do.
Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Emoji = Annotated[str, Field(min_length=1, max_length=32), BeforeValidator(_emoji), STORABLE]

# Opaque: what an answer about one's own list gave.
RoomsCursor = Annotated[str, Field(min_length=1, max_length=6000), STORABLE]

Topic = Annotated[str, Field(max_length=500), STORABLE]
Why = Annotated[str, Field(max_length=500), STORABLE]
# Of a forum's topics. In lower case, so that one thing has one tag.
TopicTitle = Annotated[
    str, Field(min_length=1, max_length=MAX_TITLE), STORABLE, AfterValidator(_not_blank)
]
Tag = Annotated[
    str,
    Field(min_length=1, max_length=30, pattern=r"^[^\s,]([^,]*[^\s,])?$"),
    STORABLE,
    AfterValidator(str.lower),
]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_unique)]
Sort = Literal["active", "new", "votes", "hot", "unanswered"]
TopicFilter = Literal["open", "solved", "closed"]
Avatar = Annotated[str, Field(max_length=40), STORABLE]

# What one says of oneself.
StatusEmoji = Annotated[str, Field(max_length=40), STORABLE]
StatusText = Annotated[str, Field(max_length=100), STORABLE]
Presence = Literal["active", "idle", "offline"]

Kind = Literal["assistant", "direct", "group", "forum", "discussion", "thread"]
Access = Literal["open", "listed", "private"]
History = Literal["all", "joined"]
Threads = Literal["on", "off", "only"]
Role = Literal["owner", "admin", "moderator", "member", "guest"]
Hears = Literal["mentions", "thread", "all"]
Reads = Literal["thread", "room"]
Policy = dict[str, Role | Annotated[int, Field(ge=0, le=100_000, strict=True)]]
Level = Literal["all", "mentions", "none"]
Speaker = Literal["user", "assistant", "system"]
Status = Literal["complete", "pending", "streaming", "failed", "cancelled", "interrupted"]


def member_errors(value: Any) -> list[dict[str, str]]:
    """Return what is wrong with a JSON object of more members than any of ours may have.

    To name each of the 50,000 that fit into a frame as unknown would take a second.
    """
    if not isinstance(value, Mapping) or len(value) <= MAX_MEMBERS:
        return []
    message = f"An object should have at most {MAX_MEMBERS} members"
    return [{"field": "", "code": "too_many_members", "message": message}]


def field_errors(error: ValidationError, *, skip: int = 0) -> list[dict[str, str]]:
    """Return what a validation error objects to, field by field, without the values sent.

    `skip` leaves that many steps of each path out, such as the one that names the kind of frame.
    """
    return [
        {
            "field": ".".join(str(step) for step in problem["loc"][skip:]),
            "code": problem["type"],
            "message": problem["msg"],
        }
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
