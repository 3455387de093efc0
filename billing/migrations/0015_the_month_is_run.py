"""Orders to reconcile, runs of a month and the drafts that they prepare; the console lists both for all tenants."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import OPERATOR, GrantTable, SecureTable

LISTED = "".join(
    f"CREATE POLICY operator_rows ON {table} FOR SELECT TO {OPERATOR} USING (true);"
    for table in ("billing_reconciliation", "billing_prepareddraft")
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0014_invoices_stand"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="PeriodRun",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("ordered_by", models.CharField(max_length=254)),
                ("ordered_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("tenants", models.PositiveIntegerField(db_default=0, default=0)),
                ("done", models.PositiveIntegerField(db_default=0, default=0)),
                ("failed", models.PositiveIntegerField(db_default=0, default=0)),
                ("last_tenant", models.UUIDField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["period", "-id"], name="period_run_newest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at", None)), fields=("period",), name="period_run_goes_on_once"
                    ),
                    models.CheckConstraint(condition=models.Q(("period__day", 1)), name="period_run_is_of_a_month"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ReconciliationOrder",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("about", models.UUIDField(null=True)),
                ("ordered_by", models.CharField(max_length=254)),
                ("ordered_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at", None)),
                        fields=("about",),
                        name="reconciliation_order_waits_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PreparedDraft",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("currency", models.CharField(max_length=3)),
                ("subtotal", models.DecimalField(decimal_places=12, max_digits=38)),
                ("tax", models.DecimalField(decimal_places=12, max_digits=38)),
                ("total", models.DecimalField(decimal_places=12, max_digits=38)),
                ("last_total", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("flags", models.JSONField(db_default=[], default=list)),
                ("severity", models.PositiveSmallIntegerField(db_default=0, default=0)),
                ("prepared_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
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
                "indexes": [models.Index(fields=["period", "-severity"], name="prepared_draft_worst")],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "period", "currency"), name="prepared_draft_once"),
                    models.CheckConstraint(condition=models.Q(("period__day", 1)), name="prepared_draft_is_of_a_month"),
                ],
            },
        ),
        GrantTable("ReconciliationOrder", control="SELECT, INSERT, UPDATE", operator="SELECT, INSERT"),
        GrantTable("PeriodRun", control="SELECT, UPDATE", operator="SELECT, INSERT"),
        SecureTable("PreparedDraft", app="", control_grants="SELECT, INSERT, UPDATE, DELETE", operator="SELECT"),
        migrations.RunSQL(LISTED, migrations.RunSQL.noop),
    ]
