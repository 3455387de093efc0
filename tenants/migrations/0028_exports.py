import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0027_break_glass"),
    ]

    operations = [
        migrations.CreateModel(
            name="TenantExport",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("ready", "ready"),
                            ("failed", "failed"),
                            ("expired", "expired"),
                        ],
                        default="queued",
                        max_length=8,
                    ),
                ),
                ("ordered_by", models.CharField(max_length=254)),
                ("reason", models.CharField(blank=True, default="", max_length=400)),
                ("ordered_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("name", models.CharField(blank=True, default="", max_length=300)),
                ("sha256", models.CharField(blank=True, default="", max_length=64)),
                ("size", models.BigIntegerField(default=0)),
                ("rows", models.BigIntegerField(default=0)),
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
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="export_newest"),
                    models.Index(
                        condition=models.Q(("state__in", ("queued", "running", "ready"))),
                        fields=["ordered_at"],
                        name="export_due",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ("queued", "running"))),
                        fields=("tenant",),
                        name="export_one_at_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ("queued", "running", "ready", "failed", "expired"))),
                        name="export_state_known",
                    ),
                ],
            },
        ),
        rls.SecureTable(
            "TenantExport",
            app="SELECT, INSERT",
            control=True,
            control_grants="SELECT, UPDATE",
            operator="SELECT, INSERT",
        ),
    ]
