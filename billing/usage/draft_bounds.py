"""When the month of a draft ends, after the organisation moved to another time zone."""

from __future__ import annotations

from billing.models import Invoice
from billing.models.invoicing import DRAFT
from billing.rating.calendar import local_day, period_bounds, period_of
from tenants import clock
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant


def follow_time_zone() -> None:
    """Move the ends of drafts whose month still runs to the tenant's zone. Idempotent.

    Usage keeps the month in which it was recorded. If the next month has already begun in the new zone, the month before
    ends here; the next month's draft opens with its first usage, at that month's start.
    """
    zone, now = Tenant.objects.values_list("timezone", flat=True).get(id=current_tenant_id()), clock.now()
    period = period_of(local_day(now, zone))
    drafts = Invoice.objects.filter(state=DRAFT)
    drafts.filter(period=period).update(ends_at=period_bounds(period, zone)[1])
    drafts.filter(period__lt=period, ends_at__gt=now).update(ends_at=now)
