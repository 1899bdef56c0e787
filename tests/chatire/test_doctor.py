"""`manage.py doctor`: says what is wrong, not only that something is."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from chat.models import Assistant

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_whole_installation_is_ok() -> None:
    out = StringIO()

    call_command("doctor", stdout=out)

    lines = out.getvalue().splitlines()
    assert len(lines) == 6
    assert all(line.startswith("ok") for line in lines)


def test_each_problem_is_named_and_the_others_are_still_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Assistant.objects.create(slug="a", name="A", api_key_variable="NO_SUCH_KEY")
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE id ="
            " (SELECT max(id) FROM django_migrations WHERE app = 'chat')"
        )
    out = StringIO()
    try:
        with pytest.raises(CommandError, match="2 of 6"):
            call_command("doctor", stdout=out)
    finally:
        call_command("migrate", "chat", fake=True, verbosity=0)

    problems = [line for line in out.getvalue().splitlines() if line.startswith("PROBLEM")]
    assert "manage.py migrate" in problems[0]
    assert "NO_SUCH_KEY" in problems[1]
