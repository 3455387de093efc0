"""Savings plans by the hour: usage is covered hour by hour, on the draft, on the invoice, and on the page of commitments."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from billing import queries
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from tenants import operations
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import IN_APRIL, IN_MARCH, draft_of, finalise, name_the_seller, used
from tests.support import factories, selling
from tests.support.billing.rerater import Rerated
from tests.support.pages import text_of
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
PLAN = {"key": "steady", "per": "hour", "amount": "0.09", "percent": "40"}
TERMS: dict[str, Any] = {
    "savings_plans": [PLAN],
    "commitments": [{"key": "yearly", "amount": "80.00"}],
    "minimums": [{"key": "least", "amount": "1.00"}],
}
#: By segments, grouped in SQL: what the roll-ups are compared with.
HOURS = """
SELECT date_trunc('hour', started_at), sum(amount) FROM billing_usageevent
WHERE project_id = %s AND price_id = %s GROUP BY 1 ORDER BY 1
"""


def hours_of(project: UUID | None, price: UUID | None) -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(HOURS, [project, price])
        return [(hour.isoformat(), str(amount)) for hour, amount in cursor.fetchall()]


def many_hours(demo_clock: DemoClock, **terms: Any) -> Tenant:
    """Return a tenant whose two projects used several devices at once in some hours, and one in others."""
    tenant = used(demo_clock, 3000, 5000, terms=terms)
    with tenant_scope(tenant.id):
        first, second = Project.objects.exclude(slug="default").order_by("slug")
        for number in range(6):
            start = IN_MARCH + timedelta(hours=number // 2, minutes=7 * number)
            record_usage([interval((first, second)[number % 2].id, start, 2_345, resource=f"device:{number}")])
    return tenant


def test_b52_usage_is_covered_hour_by_hour_as_a_re_rater_covers_it(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = many_hours(demo_clock, **TERMS)
    invoice = draft_of(tenant)
    with tenant_scope(tenant.id):
        draft, lines = queries.invoice(invoice), queries.invoice_lines(invoice)
        usage = [
            {
                "key": str(line.id), "project": str(line.project_id), "meter": line.meter, "price": str(line.price_id),
                "quantity": str(line.quantity), "amount": str(line.exact.amount), "origin": None,
                "hours": hours_of(line.project_id, line.price_id),
            }
            for line in lines
            if line.kind == "usage"
        ]  # fmt: skip
    other = Rerated(
        {
            "usage": usage, "terms": {**TERMS, "currency": "EUR", "hours": 31 * 24}, "credits": [], "tax": None,
            "at": "2027-03-31",
        }
    )  # fmt: skip
    assert (draft.total.minor, draft.subtotal.minor) == (other.total, other.subtotal)
    fee = next(line for line in lines if line.kind == "savings_plan")
    assert (fee.amount.amount, fee.details["committed"], fee.quantity) == (Decimal("66.96"), "66.96", 744)
    assert 0 < Decimal(fee.details["used"]) < Decimal(fee.details["covered"]) <= Decimal(fee.details["eligible"])
    # An hour cannot use what another left: with the same money in one bucket all would be covered.
    assert Decimal(fee.details["covered"]) < Decimal(fee.details["eligible"])
    finalise(tenant)
    with tenant_scope(tenant.id):
        frozen = queries.invoice_lines(invoice)
        assert [(one.id, one.amount, one.details) for one in frozen] == [
            (one.id, one.amount, one.details) for one in lines
        ]
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []


def test_the_running_month_s_commitments_are_listed_with_what_they_cover(demo_clock: DemoClock) -> None:
    tenant = many_hours(demo_clock, **TERMS)
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default")
        record_usage([interval(project.pk, IN_APRIL - timedelta(hours=1), 3_600)])
    finance = client_for(tenant, "finance")
    plan, commitment, minimum = finance.get("/api/v1/commitments/").json()["results"]
    # An hour of a device costs 0.18; 0.09 pay for 0.15 of it, at 40 % off.
    assert (plan["kind"], plan["per"], plan["percent"]) == ("savings_plan", "hour", "40.000000")
    assert [plan[name]["amount"] for name in ("amount", "committed", "used", "covered", "eligible")] == [
        "0.090000", "64.800000", "0.090000", "0.150000", "0.180000",
    ]  # fmt: skip
    assert (plan["coverage"], plan["utilisation"]) == ("83.3", "0.1")
    assert (commitment["key"], commitment["missing"]["amount"]) == ("yearly", "15.170000")
    assert (minimum["key"], minimum["missing"]["amount"]) == ("least", "0.000000")
    assert client_for(tenant, "engineer").get("/api/v1/commitments/").status_code == 403
    page = " ".join(text_of(finance.get(f"/t/{tenant.slug}/commitments/")).split())
    for said in ("steady", "83.3", "yearly", "€15.17"):
        assert said in page
    shown = text_of(finance.get(f"/t/{tenant.slug}/invoices/{draft_of(tenant)}/"))
    assert "Savings plans" in shown


def test_b52_a_month_that_a_change_of_zone_made_longer_has_its_hours(demo_clock: DemoClock) -> None:
    name_the_seller()
    start = datetime(2027, 3, 1, tzinfo=ZoneInfo("Pacific/Kiritimati"))
    demo_clock.move_to(start + timedelta(hours=1))
    tenant = factories.make_tenant(timezone="Pacific/Kiritimati", contract=False)
    selling.open_contract(tenant, terms=TERMS)
    owner, project = factories.actor_for(tenant), factories.default_project_id(tenant)
    for day in range(32):
        demo_clock.move_to(start + timedelta(days=day + 1))
        if day == 10:
            operations.change_tenant(actor=owner, name=tenant.name, timezone="Pacific/Honolulu")
            with selling.as_control():
                outbox.drain(tenant.id)
        with tenant_scope(tenant.id):
            record_usage([interval(project, start + timedelta(days=day), 86_400)])
    demo_clock.move_to(IN_APRIL)
    with tenant_scope(tenant.id):
        (fee,) = [one for one in queries.invoice_lines(draft_of(tenant)) if one.kind == "savings_plan"]
    assert fee.quantity == 32 * 24
    finalise(tenant)
