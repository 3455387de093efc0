"""Operators open classes of devices for shares."""

from django.db import migrations, models

import tenants.clock
from tenants.isolation.rls import GrantTable


class Migration(migrations.Migration):
    dependencies = [("compute", "0040_pools_join")]

    operations = [
        migrations.CreateModel(
            name="SharedClass",
            fields=[
                ("device_class", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("parts", models.JSONField(default=list)),
                ("set_by_label", models.CharField(max_length=254)),
                ("set_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
        ),
        GrantTable("SharedClass", app="SELECT", control="SELECT", operator="SELECT, INSERT, UPDATE"),
    ]
