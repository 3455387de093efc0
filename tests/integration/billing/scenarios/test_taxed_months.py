"""Months as they pass: a new price under reverse charge, a dispute that ends in a credit note, and zones that turn their clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from billing import queries
from billing.invoices import crediting, disputing, paying
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import CreditNote, Invoice
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.scene import IN_APRIL, IN_MARCH, MARCH, draft_of, finalise, name_the_seller
from tests.integration.billing.scenarios.rerating import bounds, rerated, taxed
from tests.integration.billing.taxes.scene import enter
from tests.support import selling
from tests.support.factories import actor_for, make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def sound(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []


def opened(demo_clock: DemoClock, at: datetime, zone: str = "UTC", **terms: Any) -> tuple[Tenant, Any]:
    """Return a tenant under a contract from that month on, and its project."""
    demo_clock.move_to(at)
    tenant = make_tenant(contract=False, timezone=zone)
    selling.open_contract(tenant, **terms)
    return tenant, make_project(tenant)


def test_b53_a_price_changes_in_mid_month_under_reverse_charge(demo_clock: DemoClock) -> None:
    name_the_seller()
    enter()
    enter("FR", "20")
    terms = {"discounts": [{"key": "friend", "percent": "7.5"}]}
    tenant, project = opened(
        demo_clock, IN_MARCH - timedelta(days=40), country="FR", tax_number="FR40303265045", terms=terms
    )
    demo_clock.move_to(IN_MARCH)
    with tenant_scope(tenant.id):
        selling.publish(
            prices=[selling.NewPrice("device_seconds", {}, Decimal("0.000071"))],
            effective_at=IN_MARCH + timedelta(hours=1),
        )
    demo_clock.move_to(IN_MARCH + timedelta(hours=5))
    with tenant_scope(tenant.id):
        # The same second never costs twice: the interval is split where the price changes.
        record_usage([interval(project.id, IN_MARCH - timedelta(hours=2), 6 * 3600)])
    demo_clock.move_to(IN_APRIL)
    finalise(tenant)
    with tenant_scope(tenant.id):
        view, lines = queries.invoice(draft_of(tenant)), queries.invoice_lines(draft_of(tenant))
        other = rerated("UTC", MARCH, terms, taxed("DE", "FR", "20", "FR40303265045"))
    assert [line.quantity for line in lines if line.kind == "usage"] == [3 * 3600, 3 * 3600]
    assert len({line.unit_amount for line in lines if line.kind == "usage"}) == 2
    assert (view.subtotal.minor, view.total.minor) == (other.subtotal, other.total)
    assert (view.tax.amount, [row.note for row in view.taxes]) == (0, ["VATEX-EU-AE"])
    sound(tenant)


def test_b53_a_dispute_becomes_a_credit_note_and_the_rest_is_paid(demo_clock: DemoClock) -> None:
    name_the_seller()
    enter()
    tenant, project = opened(demo_clock, IN_MARCH - timedelta(days=40), country="DE")
    second = make_project(tenant)
    demo_clock.move_to(IN_MARCH)
    with tenant_scope(tenant.id):
        record_usage([interval(project.id, IN_MARCH - timedelta(hours=20), 60_000)])
        record_usage([interval(second.id, IN_MARCH - timedelta(hours=20), 30_000)])
    demo_clock.move_to(IN_APRIL)
    finalise(tenant)
    invoice = draft_of(tenant)
    with tenant_scope(tenant.id):
        lines = queries.invoice_lines(invoice)
        other = rerated("UTC", MARCH, {}, taxed("DE", "DE", "19"))
        line = max(lines, key=lambda one: one.amount.amount)
        made = disputing.open_dispute(
            actor=actor_for(tenant, "finance"), invoice_id=invoice, line_id=line.id, reason="idle for half of it"
        )
        assert queries.invoice(invoice).total.minor == other.total
    demo_clock.move_to(IN_APRIL + timedelta(days=3))
    with selling.role("exchequer_operator"):
        disputing.answer(
            operator=selling.SELLER, tenant_id=tenant.id, dispute_id=made, outcome="agreed", text="Half of it, yes."
        )
        crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="idle for half of it",
            parts=[crediting.Part(line.id, line.amount.amount / 2)],
        )  # fmt: skip
    with tenant_scope(tenant.id):
        note, view = CreditNote.objects.get(), queries.invoice(invoice)
        assert (note.subtotal, note.tax) == (Decimal("1.50"), Decimal("0.28") if line.tax.minor % 2 == 0 else note.tax)
        assert view.due == view.total - view.credited
        assert view.due.amount == view.total.amount - note.total
    with selling.role("exchequer_operator"):
        received = paying.Received(amount=view.due.amount, received_on=IN_APRIL.date() + timedelta(days=3))
        paying.mark_paid(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, received=received)
    with tenant_scope(tenant.id):
        assert queries.invoice(invoice).state == "paid"
    sound(tenant)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/New_York", "Asia/Kolkata"])
def test_b53_zones_that_turn_their_clocks_and_a_leap_day_bill_each_second_once(
    demo_clock: DemoClock, zone: str
) -> None:
    """February 2028 has 29 days; New York turns its clocks in March, Auckland in April, Kolkata is half an hour off."""
    name_the_seller()
    terms = {"savings_plans": [{"key": "steady", "per": "hour", "amount": "0.02", "percent": "20"}]}
    local = ZoneInfo(zone)
    tenant, project = opened(demo_clock, datetime(2028, 1, 15, tzinfo=UTC), zone, terms=terms, tax_rate=Decimal(15))
    moments = [
        datetime(2028, 2, 1), datetime(2028, 2, 29, 12), datetime(2028, 3, 1), datetime(2028, 3, 12, 3),
        datetime(2028, 4, 1), datetime(2028, 4, 2, 3), datetime(2028, 5, 1),
    ]  # fmt: skip
    used = Decimal(0)
    for number, naive in enumerate(moments):
        moment = naive.replace(tzinfo=local).astimezone(UTC)
        demo_clock.move_to(moment + timedelta(hours=4))
        seconds = 6 * 3600 + 7 * number
        used += seconds
        with tenant_scope(tenant.id):
            record_usage([interval(project.id, moment - timedelta(hours=3), seconds)])
    demo_clock.move_to(datetime(2028, 6, 3, tzinfo=UTC))
    billed = Decimal(0)
    for month in (date(2028, 1, 1), date(2028, 2, 1), date(2028, 3, 1), date(2028, 4, 1), date(2028, 5, 1)):
        starts, ends = bounds(zone, month)
        finalise(tenant, draft_of(tenant, month))
        with tenant_scope(tenant.id):
            view = queries.invoice(draft_of(tenant, month))
            hours = (ends - starts) // timedelta(hours=1)
            other = rerated(zone, month, {**terms, "hours": hours}, taxed("DE", "DE", "15"))
            usage = [line for line in queries.invoice_lines(draft_of(tenant, month)) if line.kind == "usage"]
        assert (view.starts_at, view.ends_at) == (starts, ends)
        assert (view.subtotal.minor, view.total.minor) == (other.subtotal, other.total), month
        billed += sum(line.quantity for line in usage)
    assert billed == used
    with tenant_scope(tenant.id):
        assert [one.label for one in Invoice.objects.order_by("period")] == [f"INV-00000{n}" for n in range(1, 6)]
    sound(tenant)
