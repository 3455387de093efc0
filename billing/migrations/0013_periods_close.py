"""Periods close: a trigger refuses usage for a closed month. Segments keep their list amount, beside the contracted one."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from billing.migrations import _periods as sql
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0012_looks_read_no_money"),
    ]

    operations = [
        migrations.CreateModel(
            name="BillingPeriod",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("closed", "Closed")],
                        db_default="open",
                        default="open",
                        max_length=6,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("closed_at", models.DateTimeField(null=True)),
                ("closed_by", models.CharField(blank=True, db_default="", default="", max_length=254)),
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
                    models.UniqueConstraint(fields=("tenant", "period"), name="billing_period_once"),
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at")), ("period__day", 1)),
                        name="billing_period_is_a_month",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at__isnull", True), ("state", "open")),
                            models.Q(("closed_at__isnull", False), ("state", "closed")),
                            _connector="OR",
                        ),
                        name="billing_period_state_known",
                    ),
                ],
            },
        ),
        SecureTable(
            "BillingPeriod",
            app="SELECT, INSERT (id, tenant_id, period, starts_at, ends_at)",
            control_grants="SELECT, INSERT (id, tenant_id, period, starts_at, ends_at), UPDATE (starts_at, ends_at)",
            operator="SELECT, INSERT, UPDATE (state, closed_at, closed_by)",
        ),
        migrations.AddField(
            model_name="usagerollup",
            name="discount",
            field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name="usageevent",
                    name="discount",
                    field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38),
                ),
            ]
        ),
        migrations.AddIndex(
            model_name="usagerollup",
            index=models.Index(
                condition=models.Q(("day__lt", models.F("period"))),
                fields=["tenant", "period"],
                name="rollup_correction",
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="list_amount",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("list_amount", None),
                    models.Q(("list_amount__gte", 0), ("list_amount__lt", 1000000000000)),
                    _connector="OR",
                ),
                name="list_price_is_real",
            ),
        ),
        migrations.RunSQL(sql.USAGE + sql.PERIODS + sql.CLOSED, migrations.RunSQL.noop),
    ]
