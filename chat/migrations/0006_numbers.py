"""Number what is there, and read marks with it: a conversation at a time, under its lock."""

from typing import Any, ClassVar

from django.db import connection, migrations, transaction

# Numbers that the triggers gave meanwhile are given anew: nobody has been told of them yet.
NUMBER = """
WITH placed AS (
    SELECT id, row_number() OVER (ORDER BY created_seq) AS number FROM chat_message
    WHERE conversation_id = %(conversation)s AND status NOT IN ('pending', 'streaming')
)
UPDATE chat_message m SET number = placed.number FROM placed WHERE placed.id = m.id
"""

COUNT = """
UPDATE chat_conversation c SET touched = pg_current_xact_id(),
    number = (SELECT count(*) FROM chat_message
        WHERE conversation_id = c.id AND status NOT IN ('pending', 'streaming')),
    people = (SELECT count(*) FROM chat_member
        WHERE conversation_id = c.id AND user_id IS NOT NULL AND left_at IS NULL)
WHERE id = %(conversation)s
"""

# What one wrote is read, and so is what came before it.
READ = """
INSERT INTO chat_readstate (user_id, conversation_id, read, level, gone, seq)
SELECT m.user_id, m.conversation_id, greatest(
        coalesce((SELECT max(number) FROM chat_message t
            WHERE t.conversation_id = m.conversation_id AND t.created_seq <= m.last_read_seq), 0),
        coalesce((SELECT max(number) FROM chat_message t
            WHERE t.conversation_id = m.conversation_id AND t.author_user_id = m.user_id), 0)
    ), m.level, m.left_at IS NOT NULL, 0
FROM chat_member m WHERE m.conversation_id = %(conversation)s AND m.user_id IS NOT NULL
ON CONFLICT (user_id, conversation_id) DO UPDATE
    SET read = excluded.read
"""


def number_everything(apps: Any, schema_editor: Any) -> None:
    """Go through all conversations. It may be broken off and run again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM chat_conversation ORDER BY id")
        conversations = [row[0] for row in cursor.fetchall()]
        for conversation in conversations:
            with transaction.atomic():
                values = {"conversation": conversation}
                cursor.execute(
                    "SELECT FROM chat_conversation WHERE id = %(conversation)s FOR UPDATE", values
                )
                for statement in (NUMBER, COUNT, READ):
                    cursor.execute(statement, values)


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar[list[Any]] = [("chat", "0005_read_states")]

    operations: ClassVar[list[Any]] = [
        migrations.RunPython(number_everything, migrations.RunPython.noop, elidable=True),
        migrations.RunSQL(
            "ALTER TABLE chat_conversation ALTER COLUMN touched SET NOT NULL",
            "ALTER TABLE chat_conversation ALTER COLUMN touched DROP NOT NULL",
        ),
    ]
