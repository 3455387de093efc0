"""A double-entry ledger, append-only: every movement of held and spent money, zero-sum by a trigger after each statement."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.fields import exact, lean_tenant
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

#: The budget ledger: owners are holds, counters of budgets, projects.
AVAILABLE, HELD, SPENT, UNHELD = "available", "held", "spent", "unheld"
#: The money ledger: owners are invoices, wallets and credits, and the tenant itself.
RECEIVABLE, WALLET, CREDIT, REVENUE, TAX, CLEARING, WRITE_OFF = (
    "receivable", "wallet", "credit", "revenue", "tax", "clearing", "write_off",
)  # fmt: skip
BUDGET_ACCOUNTS = [AVAILABLE, HELD, SPENT, UNHELD]
MONEY_ACCOUNTS = [RECEIVABLE, WALLET, CREDIT, REVENUE, TAX, CLEARING, WRITE_OFF]
BUDGET_OWNERS, MONEY_OWNERS = ["hold", "counter", "project"], ["invoice", "wallet", "credit", "tenant"]


class LedgerTransaction(TenantModel):
    """One movement: hold, extend, settle, carry, release, waive, `unheld`, open, void; of money: invoiced, paid, credited."""

    tenant = lean_tenant()
    kind = models.CharField(max_length=8)
    period = models.DateField()
    hold_id = models.UUIDField(null=True)
    attempt_id = models.UUIDField(null=True)
    batch_id = models.UUIDField(null=True)
    invoice_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=200, blank=True)
    posted_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [
            models.Index(fields=["tenant", "attempt_id"], name="ledger_attempt"),
            models.Index(fields=["tenant", "hold_id"], name="ledger_hold"),
            models.Index(fields=["tenant", "batch_id"], name="ledger_batch", condition=Q(batch_id__isnull=False)),
            models.Index(fields=["tenant", "invoice_id"], name="ledger_invoice", condition=Q(invoice_id__isnull=False)),
        ]


class LedgerShare(TenantModel):
    """What one attempt has of a transaction that charges several: of each amount that it moves to `spent` or `unheld`.

    A transaction of one attempt names it, and has no shares.
    """

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "attempt_id", "transaction_id")
    attempt_id = models.UUIDField()
    transaction_id = models.UUIDField()
    amount = exact()

    class Meta(TenantModel.Meta):
        constraints = [models.CheckConstraint(condition=Q(amount__gt=0), name="share_is_positive")]


class LedgerPosting(TenantModel):
    """One leg. `account` is its type, `pot` its owner: a hold, a budget's month, a project; or an invoice, a wallet, the tenant."""

    tenant = lean_tenant()
    transaction = TenantForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="postings", db_index=False)
    account = models.CharField(max_length=10)
    pot = models.UUIDField()
    pot_kind = models.CharField(max_length=7)
    currency = models.CharField(max_length=3)
    amount = exact()

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(account__in=BUDGET_ACCOUNTS, pot_kind__in=BUDGET_OWNERS)
                | Q(account__in=MONEY_ACCOUNTS, pot_kind__in=MONEY_OWNERS),
                name="posting_account_has_its_owner",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "transaction"], name="posting_transaction"),
            models.Index(fields=["tenant", "pot", "account"], name="posting_pot"),
        ]
