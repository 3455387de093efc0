"""The last step of reminders stops new launches; an operator may defer that."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import OPERATOR, SecureTable

POLICIES = f"""
CREATE POLICY operator_rows ON billing_stopdeferral FOR SELECT TO {OPERATOR} USING (true);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_stopdeferral FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0027_each_posting_balances"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="reminder", name="reminder_once"),
        migrations.RemoveConstraint(model_name="reminder", name="reminder_step_known"),
        migrations.AddConstraint(
            model_name="reminder",
            constraint=models.UniqueConstraint(fields=("tenant", "invoice", "days", "step"), name="reminder_once"),
        ),
        migrations.AddConstraint(
            model_name="reminder",
            constraint=models.CheckConstraint(
                condition=models.Q(("step__in", ["remind", "final", "stop"])), name="reminder_step_known"
            ),
        ),
        migrations.AddIndex(
            model_name="reminder",
            index=models.Index(condition=models.Q(("step", "stop")), fields=["tenant"], name="reminder_stops"),
        ),
        migrations.CreateModel(
            name="StopDeferral",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("until", models.DateField()),
                ("reason", models.CharField(max_length=400)),
                ("deferred_by", models.CharField(max_length=254)),
                ("deferred_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deferrals",
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
            options={"abstract": False, "base_manager_name": "objects"},
        ),
        SecureTable("StopDeferral", app="SELECT", control_grants="SELECT", operator="SELECT, INSERT"),
        migrations.RunSQL(POLICIES, migrations.RunSQL.noop),
    ]
