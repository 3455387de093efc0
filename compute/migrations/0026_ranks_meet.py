"""Where the members of an attempt on several nodes meet; the node that leads writes it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0025_machines_join")]

    operations = [
        migrations.AddField("attempt", "rendezvous", models.JSONField(default=dict, db_default={})),
        migrations.RunSQL(
            "GRANT UPDATE (rendezvous) ON compute_attempt TO exchequer_node",
            "REVOKE UPDATE (rendezvous) ON compute_attempt FROM exchequer_node",
        ),
    ]
