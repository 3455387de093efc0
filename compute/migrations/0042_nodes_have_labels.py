"""Labels of nodes, and those that a job asks for."""

from django.db import migrations, models

GRANT = (
    "GRANT UPDATE (labels) ON compute_node TO exchequer_operator;"
    "GRANT SELECT (node_labels) ON compute_job TO exchequer_glass"
)


class Migration(migrations.Migration):
    dependencies = [("compute", "0041_classes_are_shared")]

    operations = [
        migrations.AddField("node", "labels", models.JSONField(db_default={}, default=dict)),
        migrations.AddField("job", "node_labels", models.JSONField(db_default={}, default=dict)),
        migrations.RunSQL(GRANT, migrations.RunSQL.noop),
    ]
