"""Messages follow one another as branches; replies go on."""

from django.db import migrations, models

# Until now a conversation with an assistant was one line, in the order of `created_seq`.
JOIN_UP = """
UPDATE chat_message m SET parent_id = (
    SELECT earlier.id FROM chat_message earlier
    WHERE earlier.conversation_id = m.conversation_id AND earlier.created_seq < m.created_seq
    ORDER BY earlier.created_seq DESC LIMIT 1
)
FROM chat_conversation c
WHERE c.id = m.conversation_id AND c.kind = 'assistant' AND m.role = 'user'
    AND m.parent_id IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_message_language")]

    operations = [
        migrations.AddField(
            model_name="message",
            name="earlier_attempts",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="assistant",
            name="open_turns",
            field=models.BooleanField(
                default=False,
                help_text="For a base URL of its own: whether its server goes on with an "
                "assistant's turn that is left open, as llama.cpp, vLLM and SGLang do. "
                "Else OPENAI_OPEN_TURNS.",
            ),
        ),
        migrations.RunSQL(JOIN_UP, migrations.RunSQL.noop),
    ]
