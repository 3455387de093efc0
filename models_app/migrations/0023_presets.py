import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable, glass_sql

# What an operator reads who looks inside a tenant: no amount.
SHOWN = "id, tenant_id, project_id, name, body, created_by, created_by_label, created_at, changed_at"


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0022_pipelines"),
        ("tenants", "0050_figures_of_the_month_before"),
    ]

    operations = [
        migrations.CreateModel(
            name="Preset",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("body", models.JSONField()),
                ("max_cost", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("created_by", models.UUIDField(null=True)),
                ("created_by_label", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("changed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        models.F("tenant"),
                        models.OrderBy(models.F("id"), descending=True),
                        name="models_app_preset_newest",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("tenant"), models.F("project"), models.F("name"), name="models_app_preset_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("max_cost", None), ("max_cost__gt", 0), _connector="OR"),
                        name="models_app_preset_cost",
                    ),
                ],
            },
        ),
        SecureTable("Preset", app="SELECT, INSERT, UPDATE, DELETE", control_grants="SELECT, UPDATE"),
        migrations.RunSQL(glass_sql("models_app_preset", columns=SHOWN), migrations.RunSQL.noop),
    ]
