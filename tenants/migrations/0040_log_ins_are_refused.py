from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls

# Each side adds its own refusals, and reads none: the ops worker takes them to the operator log.
SIDES = """
ALTER TABLE tenants_refusedlogin ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants_refusedlogin FORCE ROW LEVEL SECURITY;
CREATE POLICY people ON tenants_refusedlogin FOR INSERT TO exchequer_app WITH CHECK (side = 'tenants');
CREATE POLICY operators ON tenants_refusedlogin FOR INSERT TO exchequer_operator WITH CHECK (side = 'console');
CREATE POLICY control_rows ON tenants_refusedlogin TO exchequer_control USING (true) WITH CHECK (true);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0039_exports_have_files"),
    ]

    operations = [
        migrations.CreateModel(
            name="RefusedLogIn",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("side", models.CharField(max_length=8)),
                ("method", models.CharField(max_length=14)),
                ("code", models.CharField(max_length=80)),
                ("account", models.UUIDField(null=True)),
                ("origin", models.CharField(max_length=16)),
                ("provider_of", models.UUIDField(null=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("method__in", ["password", "second_factor", "provider"]),
                            ("side__in", ["tenants", "console"]),
                        ),
                        name="refused_log_in_known",
                    )
                ],
            },
        ),
        rls.GrantTable("RefusedLogIn", app="INSERT", control="SELECT, DELETE", operator="INSERT"),
        migrations.RunSQL(SIDES, migrations.RunSQL.noop),
    ]
