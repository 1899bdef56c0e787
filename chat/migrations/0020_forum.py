"""Forums: topics, votes, who answers first, and who looked at what today."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0019_assistants_in_rooms'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='TopicView',
            fields=[
                ('pk', models.CompositePrimaryKey('topic_id', 'user_id', 'day', blank=True, editable=False, primary_key=True, serialize=False)),
                ('topic_id', models.UUIDField()),
                ('user_id', models.UUIDField()),
                ('day', models.DateField()),
            ],
        ),
        migrations.AddField(
            model_name='conversation',
            name='responder',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='chat.assistant'),
        ),
        migrations.AddField(
            model_name='tally',
            name='votes',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name='Topic',
            fields=[
                ('conversation', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='topic', serialize=False, to='chat.conversation')),
                ('client_id', models.CharField(max_length=64)),
                ('title', models.CharField(max_length=200)),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('solved', models.BooleanField(default=False)),
                ('closed', models.BooleanField(default=False)),
                ('pinned', models.BooleanField(default=False)),
                ('deleted', models.BooleanField(default=False)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=30), blank=True, default=list, size=None)),
                ('votes', models.PositiveIntegerField(default=0)),
                ('views', models.PositiveBigIntegerField(default=0)),
                ('replies', models.PositiveIntegerField(default=0)),
                ('hot', models.FloatField(default=0)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('active_at', models.DateTimeField(auto_now_add=True)),
                ('seq', models.BigIntegerField()),
                ('number', models.BigIntegerField()),
                ('stale', models.BooleanField(default=False)),
                ('refreshed_at', models.DateTimeField(blank=True, null=True)),
                ('accepted', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='chat.message')),
                ('accepted_by', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('author', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('first_message', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='chat.message')),
                ('forum', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='topics', to='chat.conversation')),
            ],
            options={
                'indexes': [models.Index(fields=['forum', 'seq'], name='topic_seq'), models.Index(condition=models.Q(('deleted', False)), fields=['forum', 'pinned', 'active_at', 'conversation'], name='topic_active'), models.Index(condition=models.Q(('deleted', False)), fields=['forum', 'pinned', 'created_at', 'conversation'], name='topic_new'), models.Index(condition=models.Q(('deleted', False)), fields=['forum', 'pinned', 'votes', 'conversation'], name='topic_votes'), models.Index(condition=models.Q(('deleted', False)), fields=['forum', 'pinned', 'hot', 'conversation'], name='topic_hot'), models.Index(condition=models.Q(('closed', False), ('deleted', False), ('replies', 0), ('solved', False)), fields=['forum', 'pinned', 'created_at', 'conversation'], name='topic_unanswered'), models.Index(condition=models.Q(('accepted__isnull', False), ('deleted', False)), fields=['forum', 'accepted_at'], name='topic_accepted'), models.Index(condition=models.Q(('deleted', True)), fields=['forum', 'number'], name='topic_deleted'), django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['tags'], name='topic_tags')],
                'constraints': [models.UniqueConstraint(fields=('forum', 'author', 'client_id'), name='topic_client_id_once')],
            },
        ),
        # What a view's row costs is not worth a log; and a topic's updates shall be HOT.
        migrations.RunSQL(
            "ALTER TABLE chat_topicview SET UNLOGGED", "ALTER TABLE chat_topicview SET LOGGED"
        ),
        migrations.RunSQL(
            "ALTER TABLE chat_topic SET (fillfactor = 70)", migrations.RunSQL.noop
        ),
    ]
