"""A reading that arrives after its month is closed: what it does to the invoice that stands, and to the next one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.reported.readings import sweeping
from tenants.isolation.scoping import tenant_scope
from tests.api.billing.test_events import Sender
from tests.api.billing.test_reported import Finance
from tests.integration.billing.invoicing.scene import name_the_seller
from tests.support import selling
from tests.support.selling import NewPrice
from tests.support.usage import priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
MARCH, APRIL = "2027-03-01", "2027-04-01"
#: From here on a unit costs three euros instead of two.
IN_APRIL_ALONE = datetime(2027, 4, 1, tzinfo=UTC)
IN_APRIL = datetime(2027, 4, 2, 12, tzinfo=UTC)

#: A late reading, and what the corrections of March in April then come to; nothing where it changes nothing.
Late = tuple[dict[str, Any], str]
# Of 10 by anna on the 20th and 4 by ben on the 25th of March: what March bills, and what late readings change.
CASES: list[tuple[str, str, list[Late]]] = [
    # Each event counts as one.
    ("count", "2", [({"day": 28, "value": 7}, "1")]),
    # A lower peak changes nothing; a higher one takes the place of the one before.
    ("max", "10", [({"day": 28, "value": 9}, ""), ({"day": 28, "value": 15}, "5")]),
    # Only what was last in the month counts: before the last nothing changes, then 4 goes and 6 comes.
    ("latest", "4", [({"day": 22, "value": 6}, ""), ({"day": 28, "value": 6}, "2")]),
    # A label that counted does not count again, a new one does.
    ("unique", "2", [({"day": 28, "label": "anna"}, ""), ({"day": 28, "label": "carla"}, "1")]),
    # 10 for five days, then 4: from the 28th on it was 1, also for the 36 hours of April.
    ("time_weighted", str(24 * (10 * 5 + 4 * 7)), [({"day": 28, "value": 1}, str(-3 * 24 * 4))]),
]


@pytest.mark.parametrize(("aggregation", "billed", "readings"), CASES)
def test_b65_a_reading_after_closing_corrects_the_next_invoice_and_the_finalised_one_stands(
    demo_clock: DemoClock, seller: Any, aggregation: str, billed: str, readings: list[Late]
) -> None:
    name_the_seller()
    tenant = priced_tenant(demo_clock, datetime(2027, 3, 19, tzinfo=UTC), for_=timedelta(days=40))
    with tenant_scope(tenant.id):
        selling.publish(prices=[NewPrice("x_m", {}, Decimal(2))])
        selling.publish(prices=[NewPrice("x_m", {}, Decimal(3))], effective_at=IN_APRIL_ALONE)
    send, finance, console = Sender(tenant), Finance(tenant), seller("platform_finance")
    body = {"title": "Of tests", "unit": "unit", "event_type": "x.m", "aggregation": aggregation}
    finance("POST", "meters/", body, 201)

    def report(at: datetime, value: int = 0, label: str = "") -> None:
        data = {"label": label} if aggregation == "unique" else {"quantity": value}
        send({
            "specversion": "1.0", "id": uuid4().hex, "source": "gateway", "type": "x.m", "subject": "bucket-1",
            "time": at.isoformat(), "data": data,
        })  # fmt: skip

    def invoice(period: str) -> Any:
        with tenant_scope(tenant.id):
            assert [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]] == []
        found = finance("GET", f"invoices/?period={period[:7]}")["results"]
        return finance("GET", f"invoices/{found[0]['id']}/") if found else None

    def lines(of: Any) -> list[tuple[str, str | None, Decimal]]:
        """Return kind, corrected month and quantity of usage; lines that take back and add together are one."""
        sums: dict[tuple[str, str | None], Decimal] = {}
        for one in finance("GET", f"invoices/{of['id']}/lines/")["results"] if of else []:
            if one["kind"] == "carried_over":  # the correction exceeds April's own: it becomes credit
                continue
            key = (one["kind"], one["origin"])
            sums[key] = sums.get(key, Decimal(0)) + Decimal(one["quantity"])
            # March costs two euros whenever it is billed, April three.
            each = 3 if one["kind"] == "usage" and of["period"] == APRIL else 2
            assert Decimal(one["exact"]["amount"]) == Decimal(one["quantity"]) * each
        return [(*key, quantity) for key, quantity in sorted(sums.items(), key=str) if quantity]

    demo_clock.move_to(datetime(2027, 3, 31, 12, tzinfo=UTC))
    report(datetime(2027, 3, 20, tzinfo=UTC), 10, "anna")
    report(datetime(2027, 3, 25, tzinfo=UTC), 4, "ben")
    demo_clock.move_to(IN_APRIL)
    with selling.as_control():
        sweeping.count_hours()
    march = invoice(MARCH)
    assert lines(march) == [("usage", None, Decimal(billed))]
    path = f"/api/operator/v1/invoices/{march['id']}/finalise/"
    assert console.post(path, {}, content_type="application/json").status_code == 200
    stands = invoice(MARCH)
    own: list[tuple[str, str | None, Decimal]] = []
    if aggregation == "time_weighted":
        own = [("usage", None, Decimal(36))]
    for late, corrected in readings:
        report(datetime(2027, 3, late["day"], tzinfo=UTC), late.get("value", 0), late.get("label", ""))
        assert invoice(MARCH) == stands
        assert lines(invoice(APRIL)) == [*([("correction", MARCH, Decimal(corrected))] if corrected else []), *own]
    if not own:
        # April counts for itself, whatever March came to.
        report(IN_APRIL_ALONE, 8, "anna")
        own = [("usage", None, Decimal(1 if aggregation in ("count", "unique") else 8))]
        assert lines(invoice(APRIL)) == [("correction", MARCH, Decimal(corrected)), *own]
    assert (invoice(MARCH), invoice(APRIL)["state"]) == (stands, "draft")
