"""What may be said in the address of a socket."""

from typing import Any

import pytest
from pydantic import ValidationError

from chat.socket.parameters import BadParameters, Parameters, parse_parameters
from protocol.limits import MAX_MEMBERS


def parsed(**values: str) -> Parameters:
    """The parameters of an address, each given once."""
    return parse_parameters({name: [value] for name, value in values.items()})


def refused(query: dict[str, list[str]]) -> list[dict[str, str]]:
    """What is wrong with an address."""
    with pytest.raises(BadParameters) as caught:
        parse_parameters(query)
    assert str(caught.value) == "The address has parameters that cannot be used."
    assert list(caught.value.details) == ["fields"]
    return caught.value.details["fields"]


def test_an_address_may_say_nothing() -> None:
    parameters = parse_parameters({})
    assert parameters.model_dump() == {
        "assistant": None,
        "model": None,
        "language": None,
        "platform": None,
        "chatmode": None,
        "since": None,
    }
    assert parameters.defaults() == {}


def test_messages_take_assistant_model_and_language_from_the_address() -> None:
    parameters = parsed(
        assistant="ada", model="tiny", language="de", platform="web", chatmode="text", since="7"
    )
    assert parameters.defaults() == {"assistant": "ada", "model": "tiny", "language": "de"}
    assert (parameters.platform, parameters.chatmode, parameters.since) == ("web", "text", 7)


def test_only_what_was_chosen_is_a_default() -> None:
    assert parsed(model="tiny").defaults() == {"model": "tiny"}


def test_the_other_names_of_assistant_and_model_are_understood() -> None:
    assert parsed(character_id="ada", llm="tiny") == parsed(assistant="ada", model="tiny")


@pytest.mark.parametrize("values", [["secret"], ["secret", "twice"]])
def test_the_token_is_not_looked_at(values: list[str]) -> None:
    assert parse_parameters({"token": values, "model": ["tiny"]}) == parsed(model="tiny")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("assistant", "a"),
        ("assistant", "a" * 60),
        ("model", "m"),
        ("model", "m" * 120),
        ("language", "de"),
        ("language", "a" * 8),
        ("language", "zh-Hant-TW"),
        ("language", "de-" + "a" * 8),
        ("language", "de-1"),
        ("language", "abcdefgh-abcdefgh-abcdefgh-abcdefgh"),
        ("platform", "w"),
        ("platform", "Some_phone 1.2-b"),
        ("platform", "p" * 40),
        ("since", "0"),
        ("since", str(2**63 - 1)),
    ],
)
def test_a_value_up_to_its_limit_is_taken(name: str, value: str) -> None:
    assert str(getattr(parsed(**{name: value}), name)) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("assistant", ""),
        ("assistant", "a" * 61),
        ("assistant", "a\0"),
        ("model", ""),
        ("model", "m" * 121),
        ("model", "m\0"),
        ("language", "d"),
        ("language", "a" * 9),
        ("language", "d1"),
        ("language", "de-"),
        ("language", "de-" + "a" * 9),
        ("language", "de_DE"),
        ("language", "de and more"),
        ("language", "abcdefgh-abcdefgh-abcdefgh-abcdefg-a"),
        ("platform", ""),
        ("platform", "p" * 41),
        ("platform", "<script>"),
        ("chatmode", "voice"),
        ("chatmode", "texts"),
        ("chatmode", "context"),
        ("since", "-1"),
        ("since", str(2**63)),
        ("since", "now"),
        ("colour", "red"),
    ],
)
def test_a_value_beyond_its_limit_is_refused_by_name_and_not_repeated(
    name: str, value: str
) -> None:
    [field] = refused({name: [value]})
    assert field["field"] == name
    assert field["code"]
    assert not value or value not in field.values()


def test_a_parameter_given_twice_is_refused() -> None:
    query = {"model": ["tiny"], "language": ["de", "de"]}
    assert refused(query) == [{"field": "language", "code": "repeated", "message": "given twice"}]


def test_too_many_parameters_are_refused_without_naming_each() -> None:
    [field] = refused({f"x{number}": ["1"] for number in range(MAX_MEMBERS + 1)})
    assert (field["field"], field["code"]) == ("", "too_many_members")
    assert len(refused({f"x{number}": ["1"] for number in range(MAX_MEMBERS)})) == MAX_MEMBERS


def test_of_a_long_name_only_the_beginning_is_repeated() -> None:
    [field] = refused({"x" * 41: ["1", "2"]})
    assert field["field"] == "x" * 40


def test_parameters_do_not_change_once_they_are_read() -> None:
    parameters: Any = parsed(model="tiny")
    with pytest.raises(ValidationError):
        parameters.model = "other"
