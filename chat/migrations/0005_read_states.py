"""Numbers of what can be read, and what one alone sees of a conversation.

The version before may still write while and after this runs: what it does not know of is kept by
triggers, until a later release drops them and the columns that only it uses.
"""

from typing import Any, ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import chat.models

# Without a row of their own, a conversation's lists would be read from what changes most.
TABLES = """
ALTER TABLE chat_conversation SET (fillfactor = 50);
ALTER TABLE chat_feed SET (fillfactor = 50);
ALTER TABLE chat_readstate SET (fillfactor = 70);
ALTER TABLE chat_feed ADD CONSTRAINT chat_feed_of_user FOREIGN KEY (user_id)
    REFERENCES accounts_user (id) ON DELETE CASCADE;
ALTER TABLE chat_readstate ADD CONSTRAINT chat_readstate_of_user FOREIGN KEY (user_id)
    REFERENCES accounts_user (id) ON DELETE CASCADE;
ALTER TABLE chat_readstate ADD CONSTRAINT chat_readstate_in_conversation
    FOREIGN KEY (conversation_id) REFERENCES chat_conversation (id) ON DELETE CASCADE;
"""

# A default that is computed would rewrite the table; this way only new rows get it.
TOUCHED = """
ALTER TABLE chat_conversation ADD COLUMN touched xid8;
ALTER TABLE chat_conversation ALTER COLUMN touched SET DEFAULT pg_current_xact_id();
"""

# -1 says that the version that inserted the row keeps its read marks elsewhere.
OLD_COLUMNS = """
ALTER TABLE chat_member ALTER COLUMN last_read_seq SET DEFAULT -1;
ALTER TABLE chat_member ALTER COLUMN level SET DEFAULT 'all';
"""

TRIGGERS = """
CREATE FUNCTION chat_stamp_conversation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.touched := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER chat_stamp_conversation BEFORE UPDATE ON chat_conversation FOR EACH ROW
    WHEN (NEW.seq IS DISTINCT FROM OLD.seq) EXECUTE FUNCTION chat_stamp_conversation();

-- A message that can be read and has no number was written by the version before.
CREATE FUNCTION chat_number_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chat_conversation SET number = number + 1
        WHERE id = NEW.conversation_id RETURNING number INTO NEW.number;
    IF TG_OP = 'INSERT' AND NEW.author_user_id IS NOT NULL THEN
        UPDATE chat_readstate SET read = NEW.number
            WHERE user_id = NEW.author_user_id AND conversation_id = NEW.conversation_id
                AND read < NEW.number;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chat_number_message BEFORE INSERT OR UPDATE OF status ON chat_message FOR EACH ROW
    WHEN (NEW.number IS NULL AND NEW.status NOT IN ('pending', 'streaming'))
    EXECUTE FUNCTION chat_number_message();

-- At the end of the transaction: the version that keeps read states has done so by then.
CREATE FUNCTION chat_follow_member() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_gone boolean := NEW.left_at IS NOT NULL;
    took bigint;
BEGIN
    IF EXISTS (
        SELECT FROM chat_readstate WHERE user_id = NEW.user_id
            AND conversation_id = NEW.conversation_id AND gone = is_gone
    ) OR NOT EXISTS (SELECT FROM chat_member WHERE id = NEW.id) THEN
        RETURN NULL;
    END IF;
    INSERT INTO chat_feed (user_id, seq) VALUES (NEW.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET seq = chat_feed.seq + 1 RETURNING seq INTO took;
    INSERT INTO chat_readstate (user_id, conversation_id, read, level, gone, seq)
        SELECT NEW.user_id, id, number, NEW.level, is_gone, took
        FROM chat_conversation WHERE id = NEW.conversation_id
        ON CONFLICT (user_id, conversation_id) DO UPDATE
            SET read = excluded.read, gone = excluded.gone, seq = excluded.seq;
    UPDATE chat_conversation SET people = (
        SELECT count(*) FROM chat_member
        WHERE conversation_id = NEW.conversation_id AND user_id IS NOT NULL AND left_at IS NULL
    ) WHERE id = NEW.conversation_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER chat_follow_member AFTER INSERT OR UPDATE OF left_at ON chat_member
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION chat_follow_member();

-- A read mark of the version before, which is a seq.
CREATE FUNCTION chat_follow_mark() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mark bigint;
    took bigint;
BEGIN
    SELECT coalesce(max(number), 0) INTO mark FROM chat_message
        WHERE conversation_id = NEW.conversation_id AND created_seq <= NEW.last_read_seq;
    IF NOT EXISTS (
        SELECT FROM chat_readstate WHERE user_id = NEW.user_id
            AND conversation_id = NEW.conversation_id AND read < mark
    ) AND NEW.level = OLD.level THEN
        RETURN NULL;
    END IF;
    INSERT INTO chat_feed (user_id, seq) VALUES (NEW.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET seq = chat_feed.seq + 1 RETURNING seq INTO took;
    UPDATE chat_readstate SET read = greatest(read, mark), level = NEW.level, seq = took
        WHERE user_id = NEW.user_id AND conversation_id = NEW.conversation_id;
    RETURN NULL;
END $$;
CREATE TRIGGER chat_follow_mark AFTER UPDATE OF last_read_seq, level ON chat_member FOR EACH ROW
    WHEN (NEW.user_id IS NOT NULL AND (NEW.last_read_seq > OLD.last_read_seq
        OR NEW.level IS DISTINCT FROM OLD.level))
    EXECUTE FUNCTION chat_follow_mark();
"""

NO_TRIGGERS = """
DROP TRIGGER chat_stamp_conversation ON chat_conversation;
DROP TRIGGER chat_number_message ON chat_message;
DROP TRIGGER chat_follow_member ON chat_member;
DROP TRIGGER chat_follow_mark ON chat_member;
DROP FUNCTION chat_stamp_conversation, chat_number_message, chat_follow_member, chat_follow_mark;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0004_branches"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            "conversation", "number", models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            "conversation", "people", models.PositiveIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            "conversation", "deleted_at", models.DateTimeField(blank=True, null=True)
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(TOUCHED, "ALTER TABLE chat_conversation DROP COLUMN touched")],
            [
                migrations.AddField(
                    "conversation",
                    "touched",
                    chat.models.Xid8Field(db_default=chat.models.CurrentTransaction()),
                )
            ],
        ),
        migrations.AddField("message", "number", models.BigIntegerField(blank=True, null=True)),
        migrations.AddField(
            "member", "joined_seq", models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.CreateModel(
            "Feed",
            [
                (
                    "user",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="feed",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("seq", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            "ReadState",
            [
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "user_id",
                        "conversation_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("read", models.BigIntegerField(default=0)),
                (
                    "level",
                    models.CharField(
                        choices=[("all", "All"), ("mentions", "Mentions"), ("none", "None")],
                        default="all",
                        max_length=8,
                    ),
                ),
                ("muted_until", models.DateTimeField(blank=True, null=True)),
                ("pinned", models.PositiveIntegerField(blank=True, null=True)),
                ("gone", models.BooleanField(default=False)),
                ("seq", models.BigIntegerField(default=0)),
                (
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="read_states",
                        to="chat.conversation",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["conversation", "user"], name="readstate_conversation")
                ]
            },
        ),
        migrations.RunSQL(TABLES, migrations.RunSQL.noop),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(OLD_COLUMNS, migrations.RunSQL.noop)],
            [
                migrations.RemoveField("member", "last_read_seq"),
                migrations.RemoveField("member", "level"),
            ],
        ),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
    ]
