"""Chunks live for the seconds a reply streams: no write-ahead log for them."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE chat_replychunk SET UNLOGGED",
            "ALTER TABLE chat_replychunk SET LOGGED",
        )
    ]
