"""A double-entry ledger, append-only: every movement of held and spent money, zero-sum by a deferred trigger."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.fields import exact, lean_tenant
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

AVAILABLE, HELD, SPENT, UNHELD = "available", "held", "spent", "unheld"


class LedgerTransaction(TenantModel):
    """One movement: hold, extend, settle, carry, release, waive, `unheld`, open, void."""

    tenant = lean_tenant()
    kind = models.CharField(max_length=8)
    period = models.DateField()
    hold_id = models.UUIDField(null=True)
    attempt_id = models.UUIDField(null=True)
    batch_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=200, blank=True)
    posted_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [
            models.Index(fields=["tenant", "attempt_id"], name="ledger_attempt"),
            models.Index(fields=["tenant", "hold_id"], name="ledger_hold"),
            models.Index(fields=["tenant", "batch_id"], name="ledger_batch", condition=Q(batch_id__isnull=False)),
        ]


class LedgerPosting(TenantModel):
    """One leg. `pot` is the account's owner: the hold, the budget's month or the project."""

    tenant = lean_tenant()
    transaction = TenantForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="postings", db_index=False)
    account = models.CharField(max_length=9)
    pot = models.UUIDField()
    pot_kind = models.CharField(max_length=7)
    currency = models.CharField(max_length=3)
    amount = exact()

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [
            models.Index(fields=["tenant", "transaction"], name="posting_transaction"),
            models.Index(fields=["tenant", "pot", "account"], name="posting_pot"),
        ]
