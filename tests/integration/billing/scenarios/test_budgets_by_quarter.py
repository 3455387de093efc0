"""Stories of months with budgets: late usage around a quarter's end, and a gateway that spends a budget to zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from billing import queries
from billing.budgets import budgets, raises
from billing.budgets.budgets import BudgetKind
from billing.budgets.counters import BudgetExceeded
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import BudgetPeriod, Invoice
from billing.reported import ingest
from billing.reported.holds import asking
from billing.reported.holds import queries as holds
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.scene import APRIL, IN_APRIL, IN_MARCH, finalise, name_the_seller, used
from tests.support.factories import actor_for, default_project_id
from tests.support.usage import priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
EURO = 50_000
"""So many requests cost one euro."""


@pytest.fixture(autouse=True)
def _price_list() -> None:
    """Use the prices of a new tenant, which count requests."""


def event(at: datetime, quantity: int, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "gateway",
        "type": "inference.requests",
        "subject": "model-x",
        "time": at.isoformat(),
        "data": {"quantity": quantity, **data},
    }


def counters(tenant: Tenant) -> dict[str, Decimal]:
    """Return what each budget's period counts as spent, by the name of the period, after the proofs."""
    with tenant_scope(tenant.id):
        assert [str(fault) for fault in [*ledger_faults(), *reconcile_faults()]] == []
        rows = BudgetPeriod.objects.select_related("budget").order_by("period")
        return {f"{row.budget.period} {row.period:%Y-%m}": row.spent + row.unheld for row in rows}


def test_late_usage_counts_in_the_quarter_of_its_day_before_and_after_the_month_closes(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, 3600)  # 1.80 in March, and now it is April
    actor = actor_for(tenant)
    for length in ("month", "quarter", "year"):
        budgets.create_budget(actor=actor, amount=Decimal(100), at_limit="notify", kind=BudgetKind(length=length))
    spent = Decimal("1.8")
    assert counters(tenant) == {"year 2027-01": spent, "month 2027-04": 0, "quarter 2027-04": 0}
    # Before closing: it joins the draft of March, and the first quarter's budget.
    ingest.ingest(actor=actor, events=[event(IN_MARCH, EURO)])
    with tenant_scope(tenant.id):
        assert queries.invoices()[0].exact.amount == spent + 1
    first = {"month 2027-03": Decimal(1), "quarter 2027-01": Decimal(1)}
    rest = {"month 2027-04": Decimal(0), "quarter 2027-04": Decimal(0)}
    assert counters(tenant) == first | rest | {"year 2027-01": spent + 1}
    # After closing: April bills it as a correction, and the budgets of March and of the first quarter still count it.
    finalise(tenant)
    ingest.ingest(actor=actor, events=[event(IN_MARCH + timedelta(hours=2), 2 * EURO), event(IN_APRIL, EURO)])
    first = {"month 2027-03": Decimal(3), "quarter 2027-01": Decimal(3)}
    rest = {"month 2027-04": Decimal(1), "quarter 2027-04": Decimal(1)}
    assert counters(tenant) == first | rest | {"year 2027-01": spent + 4}
    with tenant_scope(tenant.id):
        april = Invoice.objects.get(period=APRIL)
        corrected = {line.origin: line.exact.amount for line in queries.invoice_lines(april.pk)}
        assert sum(corrected.values()) == 3
        assert len(corrected) == 2, "one line of April, one that corrects March"
        statuses = {status.length: status for status in queries.budgets()}
        assert {length: status.span for length, status in statuses.items()} == {
            "month": "April 2027", "quarter": "Q2 2027", "year": "2027",
        }  # fmt: skip


def test_an_outside_gateway_spends_a_budget_to_zero_and_not_a_cent_more(demo_clock: DemoClock) -> None:
    now = datetime(2027, 5, 10, 9, tzinfo=UTC)
    tenant = priced_tenant(demo_clock, now, for_=timedelta(days=10))
    actor, project_id = actor_for(tenant), default_project_id(tenant)
    quarter = budgets.create_budget(
        actor=actor, amount=Decimal(3), at_limit="block_new", kind=BudgetKind(length="quarter"), alerts=[50, 100]
    )
    budgets.create_budget(actor=actor, amount=Decimal(20), at_limit="block_new", kind=BudgetKind(length="year"))

    def ask(euros: str) -> Any:
        quantity = Decimal(euros) * EURO
        wanted = asking.Asked(
            project_id=project_id, meter="inference_requests", quantity=quantity, dims={}, expires_in_s=3600
        )
        with tenant_scope(tenant.id):
            return asking.place(actor=actor, asked=wanted)

    def left() -> Decimal:
        with tenant_scope(tenant.id):
            return queries.budget(quarter.id).left.amount

    # Each request holds half a euro and uses less; what is released is asked for again.
    served = 0
    while True:
        try:
            hold_id = ask("0.5")
        except BudgetExceeded:
            break
        ingest.ingest(actor=actor, events=[event(now, int(EURO * Decimal("0.2")), hold=str(hold_id)) for _ in range(2)])
        asking.release(actor=actor, hold_id=hold_id)
        served += 1
    assert (served, left()) == (7, Decimal("0.2"))
    hold_id = ask("0.2")
    ingest.ingest(actor=actor, events=[event(now, int(EURO * Decimal("0.2")), hold=str(hold_id))])
    with tenant_scope(tenant.id):
        assert holds.hold(hold_id).left.amount == 0
        assert queries.budget(quarter.id).state == "exhausted"
    assert left() == 0
    with pytest.raises(BudgetExceeded):
        ask("0.00002")
    assert counters(tenant) == {"quarter 2027-04": 3, "year 2027-01": 3}
    # Raised for this quarter, it serves again; the next quarter has its own three euros.
    raises.raise_this_month(actor=actor, budget_id=quarter.id, amount=Decimal(4))
    ask("1")
    with pytest.raises(BudgetExceeded):
        ask("0.01")
    demo_clock.move_to(datetime(2027, 7, 1, 0, 1, tzinfo=UTC))
    ask("3")
    with pytest.raises(BudgetExceeded):
        ask("0.01")
