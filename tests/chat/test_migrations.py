"""From the version before: what it stored is numbered, and what it goes on writing is kept up.

`dumps/version_0_1.sql` is data that the version before read states made: branches, a group with
somebody who left and a deleted message, a reply that streams and one that waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

pytestmark = pytest.mark.django_db(transaction=True)
DUMP = Path(__file__).parent / "dumps" / "version_0_1.sql"

# What the version before counted as unread. Of Lunch it told alice of 5, of which she had since
# answered 4: what one writes after something counts as having read it from now on.
UNREAD = {
    ("alice", "Branches"): 2,
    ("alice", "Lunch"): 1,
    ("alice", "Empty"): 0,
    ("bob", "Streaming"): 0,
    ("bob", "Lunch"): 0,
    ("charlie", "Empty"): 0,
    ("guest-1", "Lunch"): 3,
}


class Database:
    """A database of its own, with rows as text knows them."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Carry a statement out, in a transaction of its own."""
        with self.wrapper.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, **values: Any) -> Any:
        """The one value a statement finds."""
        ((value,),) = self.run(statement, **values)
        return value

    def conversation(self, title: str) -> UUID:
        """The id of a conversation."""
        return UUID(str(self.one("SELECT id FROM chat_conversation WHERE title = %(t)s", t=title)))

    def person(self, username: str) -> UUID:
        """The id of a person."""
        found = self.one("SELECT id FROM accounts_user WHERE username = %(n)s", n=username)
        return UUID(str(found))

    def unread(self) -> dict[tuple[str, str], int]:
        """Counted from the rows, one by one."""
        return {
            (username, title): count
            for username, title, count in self.run(
                """
                SELECT u.username, c.title, (
                    SELECT count(*) FROM chat_message t
                    WHERE t.conversation_id = c.id AND t.number > r.read AND t.deleted_at IS NULL
                )
                FROM chat_readstate r JOIN accounts_user u ON u.id = r.user_id
                JOIN chat_conversation c ON c.id = r.conversation_id WHERE NOT r.gone
                """
            )
        }


@contextmanager
def _inside(name: str) -> Iterator[None]:
    """Let the connection be to another database of the same server."""
    own = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = own


@pytest.fixture(scope="module")
def stored(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A database with the data of the version before, in its tables."""
    name = f"version_before_{uuid4().hex}"
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        with _inside(name):
            call_command("migrate", "accounts", verbosity=0)
            call_command("migrate", "chat", "0004", verbosity=0)
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
                cursor.execute(DUMP.read_text(encoding="utf-8"))
    yield name
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.close()


@pytest.fixture
def before(stored: str) -> Iterator[Database]:
    """A copy of it for one test."""
    name = f"before_{uuid4().hex}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {stored}")
    with _inside(name):
        yield Database(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def upgrade(to: str = "") -> None:
    call_command("migrate", "chat", *([to] if to else []), verbosity=0)


def check(database: Database) -> None:
    """Numbers are dense, counts are right, everyone present has a read state."""
    for number, dense, counted in database.run(
        """
        SELECT c.number,
            array(SELECT number FROM chat_message WHERE conversation_id = c.id
                AND number IS NOT NULL ORDER BY number)
                = array(SELECT generate_series(1, c.number)),
            (SELECT count(*) FROM chat_message WHERE conversation_id = c.id
                AND status NOT IN ('pending', 'streaming'))
        FROM chat_conversation c
        """
    ):
        assert (dense, number) == (True, counted)
    assert not database.run(
        "SELECT FROM chat_message WHERE number IS NOT NULL AND status IN ('pending', 'streaming')"
    )
    present = "SELECT user_id, conversation_id FROM chat_member WHERE user_id IS NOT NULL"
    reading = "SELECT user_id, conversation_id FROM chat_readstate"
    for absent, gone in (("IS NULL", "NOT gone"), ("IS NOT NULL", "gone")):
        assert sorted(database.run(f"{present} AND left_at {absent}")) == sorted(
            database.run(f"{reading} WHERE {gone}")
        )
    assert not database.run(
        """
        SELECT FROM chat_conversation c WHERE people <> (
            SELECT count(*) FROM chat_member
            WHERE conversation_id = c.id AND user_id IS NOT NULL AND left_at IS NULL)
        """
    )


def test_what_the_version_before_stored_is_all_there_and_nobodys_unread_is_wrong(
    before: Database,
) -> None:
    columns = "id, seq, created_seq, status, content, parent_id, author_user_id"
    stored = before.run(f"SELECT {columns} FROM chat_message ORDER BY id")
    assert len(stored) == 19
    upgrade()
    assert before.run(f"SELECT {columns} FROM chat_message ORDER BY id") == stored
    check(before)
    assert before.unread() == UNREAD
    chunks = before.run("SELECT text FROM chat_replychunk ORDER BY index")
    assert chunks == [("It ",), ("still ",)]
    levels = "SELECT level FROM chat_readstate WHERE user_id = %(user)s AND gone"
    assert before.one(levels, user=before.person("charlie")) == "mentions"


def test_a_migration_that_was_broken_off_is_run_again(before: Database) -> None:
    upgrade("0005")
    say(before, "bob", "Lunch")
    upgrade("0006")
    before.run("DELETE FROM django_migrations WHERE app = 'chat' AND name LIKE '0006%%'")
    say(before, "bob", "Lunch")
    upgrade()
    check(before)
    assert before.unread()[("alice", "Lunch")] == 3


# --- The version before, still writing --------------------------------------------------------


def say(database: Database, username: str, title: str, status: str = "complete") -> UUID:
    """Store a message as the version before does: it knows of no number."""
    message = uuid4()
    database.run(
        """
        WITH moved AS (
            UPDATE chat_conversation SET seq = seq + 1 WHERE id = %(conversation)s RETURNING seq
        )
        INSERT INTO chat_message (id, role, content, reasoning, refusal, tool_calls, status,
            model, language, attempt, earlier_attempts, usage_estimated, finish_reason, error_code,
            created_at, created_seq, seq, author_user_id, conversation_id)
        SELECT %(id)s, 'user', 'x', '', '', '[]', %(status)s, '', '', 0, 0, FALSE, '', '', now(),
            seq, seq, %(user)s, %(conversation)s FROM moved
        """,
        id=message,
        status=status,
        user=database.person(username) if username else None,
        conversation=database.conversation(title),
    )
    return message


def test_what_the_version_before_goes_on_saying_is_numbered(before: Database) -> None:
    upgrade()
    touched = before.one("SELECT touched::text FROM chat_conversation WHERE title = 'Lunch'")
    say(before, "bob", "Lunch")
    reply = say(before, "", "Lunch", status="streaming")
    check(before)
    assert before.unread()[("alice", "Lunch")] == 2
    # One who says something has read what came before it.
    assert before.unread()[("bob", "Lunch")] == 0
    before.run("UPDATE chat_message SET status = 'complete' WHERE id = %(id)s", id=reply)
    check(before)
    assert before.unread()[("bob", "Lunch")] == 1
    assert touched != before.one(
        "SELECT touched::text FROM chat_conversation WHERE title = 'Lunch'"
    )


def test_who_joins_leaves_and_reads_by_the_version_before_is_known(before: Database) -> None:
    upgrade()
    conversation, charlie = before.conversation("Streaming"), before.person("charlie")
    before.run(
        """
        INSERT INTO chat_member (id, role, nickname, level, joined_at, last_read_seq, seq,
            conversation_id, user_id)
        SELECT %(id)s, 'member', '', 'all', now(), seq, seq + 1, id, %(user)s
        FROM chat_conversation WHERE id = %(conversation)s
        """,
        id=uuid4(),
        user=charlie,
        conversation=conversation,
    )
    check(before)
    assert before.unread()[("charlie", "Streaming")] == 0
    say(before, "bob", "Streaming")
    assert before.unread()[("charlie", "Streaming")] == 1
    mark = """
    UPDATE chat_member SET last_read_seq = %(mark)s
    WHERE user_id = %(user)s AND conversation_id = %(conversation)s
    """
    for seq in (10**6, 1):
        before.run(mark, mark=seq, user=charlie, conversation=conversation)
        assert before.unread()[("charlie", "Streaming")] == 0
    feed = before.one("SELECT seq FROM chat_feed WHERE user_id = %(user)s", user=charlie)
    before.run(
        "UPDATE chat_member SET left_at = now() WHERE user_id = %(user)s"
        " AND conversation_id = %(conversation)s",
        user=charlie,
        conversation=conversation,
    )
    check(before)
    assert (
        before.one("SELECT seq FROM chat_feed WHERE user_id = %(user)s", user=charlie) == feed + 1
    )


def test_what_the_version_before_deletes_is_gone(before: Database) -> None:
    upgrade()
    conversation = before.conversation("Lunch")
    with before.wrapper.cursor() as cursor:
        for table in ("chat_message", "chat_member"):
            cursor.execute("BEGIN; SET CONSTRAINTS ALL DEFERRED")
            cursor.execute(f"DELETE FROM {table} WHERE conversation_id = %s", [conversation])
            cursor.execute("COMMIT")
        cursor.execute("DELETE FROM chat_conversation WHERE id = %s", [conversation])
    assert ("alice", "Lunch") not in before.unread()
    check(before)
