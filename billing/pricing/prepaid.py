"""A wallet counts what is held and unbilled once a prepaid contract is agreed, before it begins."""

from __future__ import annotations

from django.db import connection

from billing.models import Contract, Wallet
from tenants.isolation.scoping import current_tenant_id

# The tenant's set of budgets: no hold of it moves before this transaction ends.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('billing.budgets' || %s, 0))"
COUNT = """
UPDATE billing_wallet w SET counted = true, held = u.held, spent = u.spent FROM billing_prepaid_use(%(currency)s) u
WHERE w.tenant_id = %(tenant)s AND w.currency = %(currency)s
"""


def count_if_prepaid(contract: Contract) -> None:
    """Let the ledger move the wallet's counts, if a contract is prepaid."""
    if not contract.terms.get("prepaid"):
        return
    Wallet.objects.bulk_create([Wallet(currency=contract.currency)], ignore_conflicts=True)
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [str(current_tenant_id())])
        cursor.execute(COUNT, {"tenant": current_tenant_id(), "currency": contract.currency})
