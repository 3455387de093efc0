"""Usage of several attempts is charged in one ledger transaction, where each attempt had one of its own."""

import django.db.models.deletion
from django.db import migrations, models

from tenants.isolation.rls import SecureTable

# Transactions of one attempt, and all earlier ones, name it: they need no shares.
GUARDS = """
ALTER TABLE billing_ledgershare ADD CONSTRAINT share_is_real CHECK (amount < 'Infinity');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ledgershare FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0040_a_run_reads_many_tenants")]

    operations = [
        migrations.CreateModel(
            name="LedgerShare",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id",
                        "attempt_id",
                        "transaction_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("attempt_id", models.UUIDField()),
                ("transaction_id", models.UUIDField()),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="share_is_positive")
                ],
            },
        ),
        SecureTable("LedgerShare", app="SELECT, INSERT", control_grants="SELECT, INSERT"),
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
    ]
