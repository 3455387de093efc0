"""The pool of a device by the speed of the links between the devices of its node."""

from django.db import migrations, models

GRANT = "GRANT UPDATE (link) ON compute_device TO exchequer_node"


class Migration(migrations.Migration):
    dependencies = [("compute", "0031_devices_have_a_temperature")]

    operations = [
        migrations.AddField(
            model_name="device",
            name="link",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.RunSQL(GRANT, migrations.RunSQL.noop),
    ]
