"""What tests of wallets share: credit that an operator grants, and what the figures of a tenant say of it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from billing import queries
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import CreditBlock, CreditMovement, LedgerPosting
from billing.money import Money
from billing.queries.invoices import InvoiceView
from billing.wallets import granting
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import selling


def euro(text: str) -> Money:
    return Money(Decimal(text), "EUR")


def grant(tenant: Tenant, amount: str, *, expires_on: date | None = None, priority: int = 50) -> UUID:
    """Let an operator grant promotional credit; return the block's id."""
    given = granting.Grant(amount=Decimal(amount), expires_on=expires_on, priority=priority)
    with selling.role("exchequer_operator"):
        return granting.grant(operator=selling.SELLER, tenant_id=tenant.id, given=given, reason="a pilot project")


def withdraw(tenant: Tenant, block: UUID) -> None:
    with selling.role("exchequer_operator"):
        granting.withdraw(operator=selling.SELLER, tenant_id=tenant.id, block_id=block, reason="the pilot ended")


def seen(tenant: Tenant, invoice: UUID) -> InvoiceView:
    """Return an invoice after all rules of reconciliation were found to hold."""
    with tenant_scope(tenant.id):
        assert [str(fault) for fault in reconcile_faults()] == []
        assert [str(fault) for fault in ledger_faults()] == []
        return queries.invoice(invoice)


def left(tenant: Tenant) -> list[Money]:
    """Return what is left of each block, in order of their making, where what moved adds up to what was given."""
    with tenant_scope(tenant.id):
        found = []
        for block in CreditBlock.objects.order_by("id"):
            moved = Decimal(0)
            for row in CreditMovement.objects.filter(block=block):
                moved += -row.amount if row.kind in ("returned", "won_back") else row.amount
            assert block.amount == block.remaining + moved
            found.append(Money(block.remaining, block.currency))
        return found


def accounts(tenant: Tenant) -> dict[str, Decimal]:
    """Return the sums of the money ledger, without those that are zero."""
    with tenant_scope(tenant.id):
        found: dict[str, Decimal] = {}
        for row in LedgerPosting.objects.filter(pot_kind__in=["invoice", "tenant", "wallet", "credit"]):
            found[row.account] = found.get(row.account, Decimal(0)) + row.amount
        return {name: amount for name, amount in found.items() if amount}
