"""What goes over the socket is declared once, as a class; everything else follows from that.

A subclass of Command or Event with a `type` of its own is in the registry. From there come the
union that reads commands, their dispatch, what gives way to a slow client, the AsyncAPI document,
the tables of docs/protocol.md and the client's TypeScript types.
"""

from enum import StrEnum
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from protocol.fields import CommandId


class Order(StrEnum):
    """Who numbers an event, so that a client that missed it can ask for what came since."""

    CONVERSATION = "conversation"
    PERSON = "person"
    NOBODY = "nobody"


class WhenSlow(StrEnum):
    """What becomes of an event that waits for a client which reads too slowly."""

    KEPT = "kept"
    MERGED = "merged"
    DROPPED = "dropped"


class Frame(BaseModel):
    """Whatever goes over the wire: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(Frame):
    """What the server sends on a socket: every field is always there."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Body(Frame):
    """What a request says beside its address; a command says the same and more."""


class Ack(Told):
    """The one answer to a command that was carried out."""

    type: Literal["ack"] = "ack"
    id: str


class Command(Frame):
    """Anything a client sends. `id` comes back in its one ack or error."""

    # What it is answered with, and where REST does the same.
    answer: ClassVar[type[Frame]] = Ack
    rest: ClassVar[str | None] = None

    type: str
    id: CommandId

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter the registry."""
        _register(COMMANDS, cls)


class Event(Told):
    """Anything the server sends unasked."""

    order: ClassVar[Order] = Order.NOBODY
    when_slow: ClassVar[WhenSlow] = WhenSlow.KEPT

    type: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter the registry."""
        _register(EVENTS, cls)


COMMANDS: dict[str, type[Command]] = {}
EVENTS: dict[str, type[Event]] = {}


def _register(registry: dict[str, Any], frame: type[Frame]) -> None:
    """Enter a frame under its type; one without a type of its own is a base of others."""
    kind = frame.model_fields["type"].annotation
    if get_origin(kind) is not Literal:
        return
    (name,) = get_args(kind)
    if registry.setdefault(name, frame).__qualname__ != frame.__qualname__:
        raise TypeError(f"Two frames are called {name!r}: {registry[name]} and {frame}.")
