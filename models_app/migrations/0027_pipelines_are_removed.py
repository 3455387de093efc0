"""Pipelines can be removed: their runs stay, and their names are free again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("models_app", "0026_sets_end_with_runs")]

    operations = [
        migrations.AddField(model_name="pipeline", name="removed_at", field=models.DateTimeField(null=True)),
        migrations.RemoveConstraint(model_name="pipeline", name="models_app_pipeline_name"),
        migrations.AddConstraint(
            model_name="pipeline",
            constraint=models.UniqueConstraint(
                condition=models.Q(("removed_at", None)),
                fields=("tenant", "project", "name"),
                name="models_app_pipeline_name",
            ),
        ),
        migrations.RunSQL(
            "GRANT SELECT (removed_at) ON models_app_pipeline TO exchequer_glass", migrations.RunSQL.noop
        ),
    ]
