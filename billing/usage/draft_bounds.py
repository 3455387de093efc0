"""When an open month and its draft end, after the organisation moved to another time zone."""

from __future__ import annotations

from billing.models import BillingPeriod, Invoice
from billing.models.invoicing import DRAFT, IN_REVIEW
from billing.models.periods import OPEN
from billing.rating.calendar import local_day, period_bounds, period_of
from tenants import clock
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant


def follow_time_zone() -> None:
    """Move the ends of months that still run, and of their drafts, to the tenant's zone. Idempotent.

    Usage keeps the month in which it was recorded. If the next month has already begun in the new zone, the month before
    ends here; the next month's draft opens with its first usage, at that month's start.
    """
    zone, now = Tenant.objects.values_list("timezone", flat=True).get(id=current_tenant_id()), clock.now()
    period = period_of(local_day(now, zone))
    ends = period_bounds(period, zone)[1]
    drafts = Invoice.objects.filter(state__in=[DRAFT, IN_REVIEW])
    for rows in (drafts, BillingPeriod.objects.filter(state=OPEN)):
        rows.filter(period=period).update(ends_at=ends)
        rows.filter(period__lt=period, ends_at__gt=now).update(ends_at=now)
