"""What the queue would use now, by class of devices: the controller keeps it, the console and the metrics read it."""

from django.db import migrations, models

from tenants.isolation.rls import GrantTable


class Migration(migrations.Migration):
    dependencies = [("compute", "0021_nodes_have_logins")]

    operations = [
        migrations.CreateModel(
            name="CapacityWanted",
            fields=[
                ("device_class", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("devices", models.PositiveIntegerField()),
                ("nodes", models.PositiveIntegerField()),
                ("per_node", models.PositiveIntegerField()),
                ("unneeded", models.JSONField(default=list)),
                ("at", models.DateTimeField()),
            ],
        ),
        GrantTable("CapacityWanted", app="SELECT", control="SELECT, INSERT, UPDATE, DELETE", operator="SELECT"),
    ]
