"""A job keeps why it waits and when it is expected to start, and how far the first estimate was off."""

from django.db import migrations, models

GLASS = (
    "GRANT SELECT (wait_reason, expected_start_at, first_expected_at, start_error_s) ON compute_job TO exchequer_glass"
)


class Migration(migrations.Migration):
    dependencies = [("compute", "0016_attempts_have_members")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="wait_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=10),
        ),
        migrations.AddField(model_name="job", name="expected_start_at", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="job", name="first_expected_at", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="job", name="start_error_s", field=models.FloatField(null=True)),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["tenant", "-started_at"],
                condition=models.Q(("start_error_s__isnull", False)),
                name="compute_job_start_errors",
            ),
        ),
        migrations.AddIndex(
            model_name="attempt", index=models.Index(fields=["ended_at"], name="compute_attempt_ended")
        ),
        migrations.RunSQL(GLASS, migrations.RunSQL.noop),
    ]
