"""Months of credit from day to day: a prepaid wallet runs to zero, and one invoice of all terms is computed a second time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from billing import queries
from billing.budgets import holds
from billing.budgets.counters import BudgetExceeded
from billing.credit.queries import standing
from billing.metering.metering import record_usage
from billing.models import CreditBlock
from billing.money import Money
from billing.wallets import blocks
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.scene import draft_of, finalise, name_the_seller
from tests.integration.billing.wallets.scene import euro, grant, left, seen
from tests.support import factories, selling
from tests.support.billing.rerater import Rerated
from tests.support.selling import NewPrice
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
MARCH = datetime(2027, 3, 1, 1, tzinfo=UTC)
APRIL = datetime(2027, 4, 2, tzinfo=UTC)
DAY = timedelta(days=1)
SPOT = {"device_class": "cpu", "tier": "spot"}


def priced(demo_clock: DemoClock, **terms: Any) -> Tenant:
    """Return a tenant whose contract began in January, with a price for spot below its list price, on 1 March."""
    name_the_seller()
    demo_clock.move_to(datetime(2027, 1, 20, tzinfo=UTC))
    tenant = factories.make_tenant(contract=False)
    selling.open_contract(tenant, **terms)
    with tenant_scope(tenant.id):
        full, spot = Decimal("0.00005"), Decimal("0.00002")
        selling.publish(
            prices=[
                NewPrice("device_seconds", {"device_class": "cpu"}, full),
                NewPrice("device_seconds", SPOT, spot, full),
            ]
        )
    demo_clock.move_to(MARCH)
    return tenant


def test_a_prepaid_wallet_runs_to_zero_over_a_month_and_no_second_is_charged_beyond_it(demo_clock: DemoClock) -> None:
    tenant = priced(demo_clock, terms={"prepaid": True}, tax_rate=Decimal(19))
    project, spent, refused = factories.default_project_id(tenant), Decimal(0), 0
    grant(tenant, "10.00")
    for day in range(31):
        demo_clock.move_to(MARCH + day * DAY)
        with tenant_scope(tenant.id):
            before = standing("EUR")
            assert before is not None and before.covered == spent + before.available
            try:
                # A job of three hours, which may take a second longer.
                held = holds.hold(project_id=project, subject=f"job:{day}", amount=euro("0.54"))
            except BudgetExceeded:
                refused += 1
                continue
        demo_clock.advance(timedelta(hours=4))
        with tenant_scope(tenant.id):
            ran = interval(project, MARCH + day * DAY, 10_800, job_id=uuid4(), attempt_id=uuid4())
            spent += record_usage([ran], hold_id=held, held_only=True).amount
            holds.release(hold_id=held)
    # 18 jobs of 0.54: the nineteenth would pass 10.00.
    assert (spent, refused) == (Decimal("9.72"), 13)
    with tenant_scope(tenant.id):
        found = standing("EUR")
        assert found is not None and (found.available, found.held) == (Decimal("0.28"), 0)
    demo_clock.move_to(APRIL)
    finalise(tenant, draft_of(tenant))
    view = seen(tenant, draft_of(tenant))
    assert (view.state, view.total, left(tenant)) == ("paid", euro("0.00"), [euro("0.28")])
    with tenant_scope(tenant.id):
        found = standing("EUR")
        assert found is not None and (found.available, found.spent) == (Decimal("0.28"), 0)


def test_spot_commitment_credit_and_tax_on_one_invoice_are_what_another_program_makes_of_them(
    demo_clock: DemoClock,
) -> None:
    terms = {"commitments": [{"key": "yearly", "amount": "30.00"}], "discounts": [{"key": "friend", "percent": "7.5"}]}
    tenant = priced(demo_clock, terms=terms, tax_rate=Decimal(19))
    projects = [factories.make_project(tenant).id for _ in range(2)]
    grant(tenant, "3.33", priority=60)
    grant(tenant, "2.00", expires_on=date(2027, 4, 15))
    short = grant(tenant, "9.99", expires_on=date(2027, 3, 12))
    with tenant_scope(tenant.id), selling.role("exchequer_operator"):
        # Money that lay in the wallet.
        carried = blocks.Terms(starts_on=date(2027, 3, 1))
        blocks.add(source="carried", amount=euro("5.00"), by="tests", terms=carried)
    for day in range(31):
        demo_clock.move_to(MARCH + day * DAY + timedelta(hours=12))
        with tenant_scope(tenant.id):
            for number, project in enumerate(projects):
                tier = SPOT if (day + number) % 3 else {"device_class": "cpu", "tier": "on_demand"}
                record_usage([interval(project, MARCH + day * DAY, 9_000 + 777 * number + 13 * day, dims=tier)])
    demo_clock.move_to(APRIL)
    invoice = draft_of(tenant)
    draft = seen(tenant, invoice)
    other = rerated(tenant, invoice, terms)
    ended = Money(Decimal(other.used[str(short)]).scaleb(-2), "EUR")
    assert (other.subtotal, other.total, other.due) == (draft.subtotal.minor, draft.total.minor, draft.due.minor)
    finalise(tenant, invoice)
    view = seen(tenant, invoice)
    assert (view.subtotal, view.total, view.due, view.credits) == (
        draft.subtotal, draft.total, draft.due, draft.credits,
    )  # fmt: skip
    assert {str(one.block_id): one.amount.minor for one in view.credits} == other.used
    assert len(other.used) == 4
    assert left(tenant) == [euro("0.00"), euro("0.00"), euro("9.99") - ended, euro("0.00")]
    assert euro("0.00") < ended < euro("9.99"), "it pays for the usage of eleven days"
    with tenant_scope(tenant.id):
        lines = queries.invoice_lines(invoice)
    kinds = {line.kind for line in lines}
    assert kinds == {"usage", "commitment_shortfall", "discount", "promotional_credit"}
    spot = [line for line in lines if line.dims.get("tier") == "spot"]
    assert spot and all(line.list_exact.amount == line.exact.amount * Decimal("2.5") for line in spot)


def most(block: CreditBlock) -> str | None:
    """Return what a block that ends in March may pay of it, from the stored segments."""
    if block.expires_on is None or block.expires_on > date(2027, 3, 31):
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT round(sum(amount), 2) FROM billing_usageevent WHERE (started_at AT TIME ZONE 'UTC')::date >= %s"
            " AND (started_at AT TIME ZONE 'UTC')::date < %s",
            [block.starts_on, block.expires_on],
        )
        return str(cursor.fetchone()[0])


def rerated(tenant: Tenant, invoice: UUID, terms: dict[str, Any]) -> Rerated:
    """Return the same bill by a program that shares no code with the product, from usage lines and blocks alone."""
    with tenant_scope(tenant.id):
        usage = [
            {
                "key": str(line.id), "project": str(line.project_id), "meter": line.meter, "price": str(line.price_id),
                "quantity": str(line.quantity), "amount": str(line.exact.amount), "origin": None,
            }
            for line in queries.invoice_lines(invoice)
            if line.kind == "usage"
        ]  # fmt: skip
        credits = [
            {
                "key": str(row.pk), "kind": row.kind, "left": str(row.remaining), "priority": row.priority,
                "starts_on": str(row.starts_on) if row.kind == "promotional" else "0001-01-01",
                "expires_on": row.expires_on and str(row.expires_on), "meters": [], "projects": [], "most": most(row),
            }
            for row in CreditBlock.objects.all()
        ]  # fmt: skip
    table = [{"country": "DE", "percent": "19", "product": "standard", "starts_on": "2000-01-01", "ends_on": None}]
    taxed = {"seller": "DE", "buyer": "DE", "tax_id": None, "exempt": False, "products": {}, "rates": table}
    return Rerated(
        {"usage": usage, "terms": {**terms, "currency": "EUR"}, "credits": credits, "tax": taxed, "at": "2027-03-31"}
    )
