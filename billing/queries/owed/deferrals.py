"""Deferrals of an invoice: until when launches go on though it is overdue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from billing.models import StopDeferral


@dataclass(frozen=True, slots=True)
class DeferralView:
    """Launches go on up to and including `until`."""

    until: date
    reason: str
    deferred_by: str
    deferred_at: datetime


def of_invoice(invoice_id: UUID) -> list[DeferralView]:
    """Return the deferrals of an invoice of the open scope, the newest first; that one counts."""
    rows = StopDeferral.objects.filter(invoice_id=invoice_id).order_by("-id")
    return [DeferralView(*row) for row in rows.values_list("until", "reason", "deferred_by", "deferred_at")]
