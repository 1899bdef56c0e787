"""What people say of themselves, and which of them each socket process has: not logged."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_session_spent'),
        ('chat', '0016_pinned'),
    ]

    operations = [
        migrations.CreateModel(
            name='Attendance',
            fields=[
                ('process', models.UUIDField(primary_key=True, serialize=False)),
                ('beat_at', models.DateTimeField()),
                ('active', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None)),
                ('idle', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None)),
            ],
        ),
        migrations.CreateModel(
            name='PersonStatus',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='status', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('emoji', models.CharField(blank=True, max_length=40)),
                ('text', models.CharField(blank=True, max_length=100)),
                ('until', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name_plural': 'person statuses',
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE chat_attendance SET UNLOGGED", "ALTER TABLE chat_attendance SET LOGGED"
        ),
    ]
