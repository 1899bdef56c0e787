"""Topics and threads: conversations inside of others, whose members decide who may read them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0011_tally'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='access_id',
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='conversation',
            name='parent',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='chat.conversation'),
        ),
        migrations.AddField(
            model_name='conversation',
            name='root',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='chat.message'),
        ),
        migrations.AlterField(
            model_name='conversation',
            name='kind',
            field=models.CharField(choices=[('assistant', 'Assistant'), ('direct', 'Direct'), ('group', 'Group'), ('forum', 'Forum'), ('discussion', 'Discussion'), ('thread', 'Thread')], default='assistant', max_length=12),
        ),
        # Until now a discussion was a group by another name.
        migrations.RunSQL(
            "UPDATE chat_conversation SET kind = 'group' WHERE kind = 'discussion'",
            migrations.RunSQL.noop,
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(condition=models.Q(('access_id__isnull', False)), fields=['access_id'], name='conversation_inner'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.UniqueConstraint(condition=models.Q(('root__isnull', False)), fields=('root',), name='conversation_thread_once'),
        ),
    ]
