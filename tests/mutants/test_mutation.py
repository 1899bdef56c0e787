"""Which mutants are made of a piece of code, and which are left out."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test

from tests.mutants.modules import modules
from tests.mutants.mutation import MutatedModule, mutate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_mutant() -> Iterator[None]:
    """No mutant is under test afterwards."""
    yield
    set_mutant_under_test("")


def mutated(code: str) -> MutatedModule:
    return mutate("group", "sample.py", textwrap.dedent(code))


def changes(code: str) -> set[str]:
    return {mutant.after for mutant in mutated(code).mutants}


def test_a_mutant_says_its_line_and_what_changes_there() -> None:
    (mutant,) = mutated(
        """
        # A comment above it.
        @decorated
        def older(a, b):
            return (
                a
                > b
            )
        """
    ).mutants
    assert (mutant.line, mutant.before, mutant.after) == (6, "a > b", "a >= b")


@pytest.mark.parametrize(
    "line",
    [
        'logger.info("reply_ended", status=str(status))',
        'self._log.warning("reply_ended")',
        'raise Conflict("They are a member already.")',
        'raise Conflict(f"The {status} is another.")',
        'field(help_text="What people see.")',
        'error = PublishError("the thread ended")',
        'raise Conflict("Publish later: NOTIFY in one makes all wait.")',
        'assert self, "nothing is here"',
        'answer(self, "Only a reply can be stopped.")',
    ],
)
def test_the_wording_of_a_text_for_people_is_left_alone(line: str) -> None:
    after = changes(f"def f(self, status):\n    {line}\n")
    assert not any("XX" in line or "info(" in line or "Conflict(" in line for line in after)


@pytest.mark.parametrize(
    ("line", "mutant"),
    [
        ('raise CannotAsk("turn_gone")', 'raise CannotAsk("XXturn_goneXX")'),
        ('raise Invalid("There is none.", field="user")', 'field="XXuserXX"'),
        ('cursor.execute("DELETE FROM jobs")', 'cursor.execute("XXDELETE FROM jobsXX")'),
        ('cursor.execute(" WHERE status = %s.")', '("XX WHERE status = %s.XX")'),
        ('say("Bearer realm=api")', '("XXBearer realm=apiXX")'),
        ('send(kind="title")', 'send(kind="XXtitleXX")'),
    ],
)
def test_codes_names_and_sql_are_no_wording(line: str, mutant: str) -> None:
    assert any(mutant in after for after in changes(f"def f(cursor):\n    {line}\n"))


def test_a_decorated_function_is_mutated_under_its_decorator(no_mutant: None) -> None:
    module = mutated(
        """
        import functools

        def twice(function):
            @functools.wraps(function)
            def call(*args):
                return 2 * function(*args)
            return call

        @twice
        def more(a):
            return a + 1

        class Row:
            @property
            def size(self):
                return 5
        """
    )
    namespace = {"__name__": "sample"}
    exec(module.code, namespace)
    names = {mutant.after: mutant.name for mutant in module.mutants}
    set_mutant_under_test(names["return a - 1"])
    assert namespace["more"](3) == 4
    assert namespace["Row"]().size == 5
    set_mutant_under_test(names["return 6"])
    assert namespace["more"](3) == 8
    assert namespace["Row"]().size == 6


def test_every_pattern_fits_a_file() -> None:
    assert len(list(modules(ROOT))) > 40
