"""SQL of migration 0018: who asks the payment provider for what, and a void invoice that is paid after all."""

from billing.migrations._invoices import STANDING
from tenants.isolation.rls import CONTROL, OPERATOR

# A payment may reach the provider before the void does: it is recorded, and goes back at once.
KEEP_INVOICE = (
    STANDING[: STANDING.index("CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_invoice ")]
    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    .replace(
        "to_jsonb(NEW) - 'sent_at' IS DISTINCT FROM to_jsonb(OLD) - 'sent_at'",
        "to_jsonb(NEW) - ARRAY['sent_at', 'paid', 'returned'] IS DISTINCT FROM to_jsonb(OLD) - ARRAY['sent_at', 'paid', 'returned']",
    )
)
# The ops worker finds the tenant of a disputed payment by the payment alone. The console orders a step again.
RIGHTS = f"""
CREATE POLICY control_rows ON billing_payment TO {CONTROL} USING (true) WITH CHECK (true);
GRANT UPDATE (state, attempt, next_at, error_code, error) ON billing_collection TO {OPERATOR};
INSERT INTO billing_paymentcircuit (only_row) VALUES (true);
"""  # noqa: S608 (constants)
