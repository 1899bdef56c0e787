"""Stop the job table from sending NOTIFY inside the transactions that insert jobs.

Postgres serialises all commits that notify through one lock. Jobs are announced after commit
instead (`core.jobs.enqueue`); the worker's poll covers an announcement that was lost.
"""

from django.db import migrations

TRIGGER = "procrastinate_jobs_notify_queue_job_inserted_v1"


class Migration(migrations.Migration):
    dependencies = [("procrastinate", "0041_post_retry_failed_job")]
    operations = [
        migrations.RunSQL(
            f"ALTER TABLE procrastinate_jobs DISABLE TRIGGER {TRIGGER}",
            f"ALTER TABLE procrastinate_jobs ENABLE TRIGGER {TRIGGER}",
        )
    ]
