"""The console reports that a payment was reversed, as it reports what else it does to an invoice."""

from django.db import migrations

from tenants.isolation.rls import TENANT

BEFORE = (
    "'billing.InvoiceFinalised', 'billing.InvoiceVoided', 'billing.InvoiceCredited', 'billing.InvoicePaid'"  # of 0014
)
RULE = "ALTER POLICY operator_invoices ON tenants_outboxmessage USING {0} WITH CHECK {0}"


def rule(topics: str) -> str:
    """Return the statement that lets the console publish these topics within one tenant."""
    return RULE.format(f"(tenant_id = {TENANT} AND topic IN ({topics}))")


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0037_a_won_dispute_returns_credit"),
    ]

    operations = [
        migrations.RunSQL(rule(f"{BEFORE}, 'billing.PaymentReversed'"), rule(BEFORE)),
    ]
