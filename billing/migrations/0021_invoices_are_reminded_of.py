"""The seller's schedule of reminders, and which of them an unpaid invoice has reached; the console lists them."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import OPERATOR, SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0020_invoices_are_sent"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.AddField(
            model_name="seller",
            name="dunning",
            field=models.JSONField(db_default=[], default=list),
        ),
        migrations.CreateModel(
            name="Reminder",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("days", models.PositiveSmallIntegerField()),
                ("step", models.CharField(max_length=6)),
                ("sent", models.BooleanField(default=True)),
                ("done_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reminders",
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
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "invoice", "days"), name="reminder_once"),
                    models.CheckConstraint(
                        condition=models.Q(("step__in", ["remind", "final"])), name="reminder_step_known"
                    ),
                ],
            },
        ),
        SecureTable("Reminder", app="SELECT", control_grants="SELECT, INSERT", operator="SELECT"),
        migrations.RunSQL(
            f"CREATE POLICY operator_rows ON billing_reminder FOR SELECT TO {OPERATOR} USING (true);",
            migrations.RunSQL.noop,
        ),
    ]
