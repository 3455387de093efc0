"""When devices count as idle is set: by operators for a class of device, and by an organisation for its own work."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation.rls import GrantTable, SecureTable, glass_sql

FIGURES = models.Q(
    ("window_minutes__gte", 1),
    ("window_minutes__lte", 1440),
    ("busy_percent__gte", 1),
    ("busy_percent__lte", 50),
    ("grace_minutes__gte", 1),
    ("grace_minutes__lte", 1440),
)


class Migration(migrations.Migration):
    dependencies = [("compute", "0046_job_sets_end"), ("tenants", "0050_figures_of_the_month_before")]

    operations = [
        migrations.CreateModel(
            name="PoolIdleRule",
            fields=[
                ("device_class", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("window_minutes", models.PositiveSmallIntegerField()),
                ("busy_percent", models.PositiveSmallIntegerField()),
                ("grace_minutes", models.PositiveSmallIntegerField()),
                ("set_by", models.CharField(max_length=254)),
                ("set_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=FIGURES, name="compute_pool_idle_rule")],
            },
        ),
        GrantTable("PoolIdleRule", app="SELECT", control="SELECT", operator="SELECT, INSERT, UPDATE, DELETE"),
        migrations.CreateModel(
            name="OwnIdleRule",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("window_minutes", models.PositiveSmallIntegerField()),
                ("busy_percent", models.PositiveSmallIntegerField()),
                ("grace_minutes", models.PositiveSmallIntegerField()),
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
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="compute_own_idle_rule_once"),
                    models.CheckConstraint(condition=FIGURES, name="compute_own_idle_rule"),
                ],
            },
        ),
        SecureTable("OwnIdleRule", app="SELECT, INSERT, UPDATE, DELETE", control_grants="SELECT"),
        migrations.RunSQL(
            glass_sql("compute_ownidlerule") + "GRANT SELECT ON compute_poolidlerule TO exchequer_glass",
            migrations.RunSQL.noop,
        ),
    ]
