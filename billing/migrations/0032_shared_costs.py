"""Which cost projects pay together, and how it is split."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0031_exchange_rates"),
        ("tenants", "0042_operators_ask_operators"),
    ]

    operations = [
        migrations.CreateModel(
            name="SharedCost",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("n", models.PositiveSmallIntegerField()),
                ("source", models.CharField(max_length=12)),
                ("rule", models.CharField(max_length=8)),
                ("tag_key", models.CharField(blank=True, db_default="", default="", max_length=40)),
                ("tag_value", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("resource", models.CharField(blank=True, db_default="", default="", max_length=80)),
                ("shares", models.JSONField(db_default={}, default=dict)),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
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
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "source", "project", "tag_key", "tag_value"),
                        name="shared_cost_once",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("project__isnull", True), ("source", "organisation"), ("tag_key", "")),
                            models.Q(("project__isnull", False), ("source", "project"), ("tag_key", "")),
                            models.Q(
                                ("project__isnull", True), ("source", "tag"), models.Q(("tag_key", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="shared_cost_has_one_source",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rule__in", ["even", "by_use", "by_quota", "fixed"])),
                        name="shared_cost_rule_known",
                    ),
                ],
            },
        ),
        SecureTable("SharedCost", app="SELECT, INSERT, DELETE", control_grants="SELECT"),
    ]
