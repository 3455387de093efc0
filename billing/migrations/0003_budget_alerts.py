"""Thresholds of budgets that were passed."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_guards")]

    operations = [
        migrations.CreateModel(
            name="BudgetAlert",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("period", models.DateField()),
                ("percent", models.PositiveSmallIntegerField()),
                ("spent", models.DecimalField(decimal_places=12, max_digits=38)),
                ("limit", models.DecimalField(decimal_places=12, max_digits=38)),
                ("raised_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                (
                    "budget",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.budget",
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
        migrations.AddConstraint(
            model_name="budgetalert",
            constraint=models.UniqueConstraint(
                fields=("tenant", "budget", "period", "percent"), name="budget_alert_once"
            ),
        ),
        migrations.AddIndex(
            model_name="budgetalert",
            index=models.Index(fields=["tenant", "-id"], name="budget_alert_newest"),
        ),
        SecureTable("BudgetAlert", app="SELECT, INSERT", control_grants="SELECT, INSERT"),
    ]
