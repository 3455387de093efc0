"""The temperature of a device at its node's last heartbeat, and what operators should look at."""

from django.db import migrations, models

GRANT = "GRANT UPDATE (temperature_c, warning) ON compute_device TO exchequer_node"


class Migration(migrations.Migration):
    dependencies = [("compute", "0030_cordons_outlive_absence")]

    operations = [
        migrations.AddField(model_name="device", name="temperature_c", field=models.SmallIntegerField(null=True)),
        migrations.AddField(
            model_name="device",
            name="warning",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.RunSQL(GRANT, migrations.RunSQL.noop),
    ]
