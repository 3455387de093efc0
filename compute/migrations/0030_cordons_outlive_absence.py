"""A cordoned device that its host stops showing, and then shows again, is cordoned again."""

from django.db import migrations, models

GRANT = "GRANT UPDATE (cordoned_for) ON compute_device TO exchequer_node"


class Migration(migrations.Migration):
    dependencies = [("compute", "0027_job_sets")]

    operations = [
        migrations.AddField(
            model_name="device",
            name="cordoned_for",
            field=models.CharField(blank=True, db_default="", default="", max_length=400),
        ),
        migrations.RunSQL(GRANT, migrations.RunSQL.noop),
    ]
