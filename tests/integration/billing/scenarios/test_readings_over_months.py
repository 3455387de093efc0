"""A story of two months with a peak of seats and a disk whose size goes on over the month's end, in a zone half an hour off."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from billing import queries
from billing.invoices.finalising import ReadingsOpen
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering import meters
from billing.models import MeterPiece
from billing.reported import ingest, voids
from billing.reported.readings import sweeping
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.scene import APRIL, MARCH, draft_of, finalise, name_the_seller
from tests.support import factories, selling
from tests.support.selling import NewPrice

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
ZONE = ZoneInfo("Asia/Kolkata")
SEAT, GIB_HOUR, LATER = Decimal(3), Decimal("0.01"), Decimal("0.02")


def local(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2027, month, day, hour, tzinfo=ZONE).astimezone(UTC)


def sweep() -> int:
    with selling.as_control():
        return sweeping.count_hours()


def used(tenant: Tenant, period: date) -> dict[tuple[str, date | None], tuple[Decimal, Decimal]]:
    """Return quantity and amount of a month's lines by meter and corrected month, after the proofs."""
    with tenant_scope(tenant.id):
        assert [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]] == []
        found: dict[tuple[str, date | None], tuple[Decimal, Decimal]] = {}
        for line in queries.invoice_lines(draft_of(tenant, period)):
            if line.kind in ("usage", "correction"):
                before = found.get((line.meter, line.origin), (Decimal(0), Decimal(0)))
                found[line.meter, line.origin] = (before[0] + line.quantity, before[1] + line.exact.amount)
        return found


def test_a_peak_and_a_disk_over_a_months_end_with_late_readings_before_and_after_it_closes(
    demo_clock: DemoClock,
) -> None:
    name_the_seller()
    demo_clock.move_to(local(2, 20))
    tenant = factories.make_tenant(contract=False, timezone="Asia/Kolkata")
    selling.open_contract(tenant)
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        for title, unit, kind in (("Seats", "seat", "max"), ("Disk", "GiB-hour", "time_weighted")):
            meters.define(actor=actor, title=title, unit=unit, event_type=f"x.{title.lower()}", aggregation=kind)
        prices = [NewPrice("x_seats", {}, SEAT), NewPrice("x_disk", {}, GIB_HOUR)]
        selling.publish(prices=prices)

    def report(meter: str, value: int, at: datetime, name: str = "") -> None:
        event: dict[str, Any] = {
            "specversion": "1.0", "id": name or uuid4().hex, "source": "metering", "type": f"x.{meter}", "subject": "acme",
            "time": at.isoformat(), "data": {"quantity": value},
        }  # fmt: skip
        ingest.ingest(actor=actor, events=[event])

    demo_clock.move_to(local(3, 20, 9))
    with tenant_scope(tenant.id):
        # From the 25th on a GiB-hour costs twice as much: in the middle of a value's hours.
        selling.publish(prices=[prices[0], NewPrice("x_disk", {}, LATER)], effective_at=local(3, 25))
    report("disk", 100, local(3, 10))
    report("seats", 12, local(3, 10))
    report("seats", 9, local(3, 20, 8))
    demo_clock.move_to(local(3, 31, 23))
    report("disk", 50, local(3, 31, 12))
    report("seats", 15, local(3, 31, 18), "peak")
    # April: nothing is reported, and the hours of March end half an hour before one of UTC does.
    demo_clock.move_to(local(4, 1) + timedelta(minutes=10))
    report("seats", 7, local(4, 1))
    with pytest.raises(ReadingsOpen):
        finalise(tenant)
    assert sweep() == 1
    hours = {GIB_HOUR: 100 * 24 * 15, LATER: 100 * (24 * 6 + 12) + 50 * 12}
    disk = sum(hours.values()), sum(price * units for price, units in hours.items())
    expected = {("x_seats", None): (Decimal(15), 15 * SEAT), ("x_disk", None): disk}
    assert used(tenant, MARCH) == expected
    finalise(tenant)
    with tenant_scope(tenant.id):
        words = {line.meter: line.counts for line in queries.invoice_lines(draft_of(tenant))}
    assert words == {"x_seats": "highest of the month", "x_disk": "value × hours"}

    # Late: the disk had shrunk on the 30th already, and the peak was an error. Both correct March.
    demo_clock.move_to(local(4, 3) + timedelta(minutes=10))
    report("disk", 20, local(3, 30))
    with tenant_scope(tenant.id):
        voids.void_events(actor=actor, events=[("metering", "peak")], reason="counted twice")
    assert sweep() == 1
    fewer = -(100 - 20) * 36
    assert used(tenant, MARCH) == expected
    corrected = {("x_seats", MARCH): (Decimal(-3), -3 * SEAT), ("x_disk", MARCH): (Decimal(fewer), fewer * LATER)}
    assert used(tenant, APRIL) == {
        **corrected,
        ("x_seats", None): (Decimal(7), 7 * SEAT),
        ("x_disk", None): (Decimal(50 * 48), 50 * 48 * LATER),
    }
    # It is gone; a month later nothing has been added.
    report("disk", 0, local(4, 3))
    demo_clock.move_to(local(5, 2))
    assert sweep() == 0
    finalise(tenant, draft_of(tenant, APRIL))
    assert used(tenant, APRIL)["x_disk", None] == (50 * 48, 50 * 48 * LATER)
    with tenant_scope(tenant.id):
        live = MeterPiece.objects.filter(voided_at=None)
        starts = [
            piece.starts_at
            for piece in live.order_by("starts_at")
            if piece.ends_at - piece.starts_at > timedelta(seconds=1)
        ]
        assert len(starts) == len(set(starts))
        assert min(starts) == local(3, 10)
