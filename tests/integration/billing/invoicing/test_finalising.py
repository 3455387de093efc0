"""Finalising: an invoice gets the next number once, freezes what it states, and refuses every change."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from billing import queries
from billing.invoices import finalising, parties
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import Invoice, InvoiceLine, LedgerPosting, NumberSeries, Reconciliation
from billing.money import Money
from tenants.errors import NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct
from tenants.operators.operator import Operator, OperatorLacks
from tests.integration.billing.invoicing.scene import (
    APRIL,
    IN_APRIL,
    IN_MARCH,
    MARCH,
    draft_of,
    finalise,
    name_the_seller,
    used,
)
from tests.support import selling
from tests.support.factories import make_project
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
REFUSED = re.compile("never|permission denied|takes no more|keeps|next number")
SUPPORT = Operator(id=UUID(int=8), label="support@platform.example", roles=("platform_support",))


def refused(statement: str, role: str) -> bool:
    """Run a statement as a role, undo it, and return whether the database refused it."""
    try:
        with selling.role(role), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
            transaction.set_rollback(True)
            return False
    except DatabaseError as error:
        return REFUSED.search(str(error)) is not None


def state_of_invoices() -> list[object]:
    with selling.role("exchequer_operator"):
        series = list(NumberSeries.objects.order_by("prefix").values_list("prefix", "next_number"))
    return [*Invoice.objects.values(), *InvoiceLine.objects.values(), *series]


def test_a_draft_is_finalised_with_a_number_and_frozen_lines(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, 3000, tax_rate=Decimal(19))
    with tenant_scope(tenant.id):
        (before,) = queries.invoices(period=MARCH)
        lines = queries.invoice_lines(before.id or uuid4())
    label = finalise(tenant)
    assert label == "INV-000001"
    with tenant_scope(tenant.id):
        (view,) = queries.invoices(period=MARCH)
        assert (view.state, view.number, view.status) == ("finalised", label, "open")
        assert (view.subtotal, view.tax, view.total) == (before.subtotal, before.tax, before.total)
        assert view.total == Money(Decimal("0.18"), "EUR")
        assert view.due == view.total
        assert view.due_on == date(2027, 5, 2)
        assert (view.seller["name"], view.customer["name"]) == ("Compute GmbH", tenant.name)
        frozen = queries.invoice_lines(view.id or uuid4())
        assert frozen == lines
        assert frozen[0].id == lines[0].id
        assert {row.account: row.amount for row in LedgerPosting.objects.filter(pot_kind__in=["invoice", "tenant"])} == {
            "receivable": Decimal("0.18"), "revenue": Decimal("-0.15"), "tax": Decimal("-0.03"),
        }  # fmt: skip
        assert AuditEntry.objects.filter(action="billing.invoice.finalised").count() == 1
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []
    with selling.role("exchequer_operator"):
        assert OperatorAct.objects.filter(action="billing.invoice.finalised").count() == 1


def test_b9_finalising_again_changes_nothing_and_takes_no_number(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock)
    assert finalise(tenant) == finalise(tenant) == "INV-000001"
    with selling.role("exchequer_operator"):
        assert NumberSeries.objects.get(prefix="INV").next_number == 2
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="billing.invoice.finalised").count() == 1


def test_b6_late_usage_leaves_a_finalised_invoice_as_it_is(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock)
    finalise(tenant)
    with tenant_scope(tenant.id):
        (before,) = queries.invoices(period=MARCH)
        project = InvoiceLine.objects.get().project_id
        assert project is not None
        record_usage([interval(project, IN_MARCH, 400)])
        (after,) = queries.invoices(period=MARCH)
        assert after == before
        (draft,) = queries.invoices(period=APRIL)
        assert [line.origin for line in queries.invoice_lines(draft.id or uuid4())] == [MARCH]
        assert list(reconcile_faults()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_invoice SET total = 0, subtotal = 0, tax = 0",
        "UPDATE billing_invoice SET customer = '{}'",
        "UPDATE billing_invoice SET number = 7",
        "UPDATE billing_invoice SET state = 'draft'",
        "UPDATE billing_invoice SET due_on = due_on + 30",
        "DELETE FROM billing_invoice",
        "UPDATE billing_invoiceline SET amount = 0",
        "DELETE FROM billing_invoiceline",
        "INSERT INTO billing_invoiceline (id, tenant_id, invoice_id, n, kind, list_amount, exact_amount, amount) "
        "SELECT gen_random_uuid(), tenant_id, id, 99, 'usage', 1, 1, 1 FROM billing_invoice",
        "UPDATE billing_numberseries SET next_number = 1",
    ],
)
def test_a_finalised_invoice_refuses_every_change_by_raw_sql(demo_clock: DemoClock, statement: str) -> None:
    name_the_seller()
    tenant = used(demo_clock)
    finalise(tenant)
    with tenant_scope(tenant.id):
        before = state_of_invoices()
        for role in ("exchequer_operator", "exchequer_app", "exchequer_control"):
            assert refused(statement, role)
        assert state_of_invoices() == before


def test_what_cannot_be_finalised_says_why_and_stays_a_draft(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock)
    with pytest.raises(parties.SellerUnknown):
        finalise(tenant)
    name_the_seller()
    with pytest.raises(OperatorLacks):
        finalise(tenant, operator=SUPPORT)
    with pytest.raises(NotFound):
        finalise(tenant, uuid4())
    with tenant_scope(tenant.id):
        project = make_project(tenant).id
        record_usage([interval(project, IN_APRIL - timedelta(hours=1), 60)])
    with pytest.raises(finalising.PeriodRuns):
        finalise(tenant, draft_of(tenant, APRIL))
    demo_clock.move_to(datetime(2027, 5, 2, tzinfo=UTC))
    with pytest.raises(finalising.EarlierMonthOpen, match="March 2027 is not finalised"):
        finalise(tenant, draft_of(tenant, APRIL))
    with tenant_scope(tenant.id), selling.role("exchequer_control"):
        Reconciliation.objects.create(faults=["intervals sum to roll-ups: hour 12"])
    with pytest.raises(finalising.InvoiceParked, match="intervals sum to roll-ups"):
        finalise(tenant)
    with tenant_scope(tenant.id):
        assert {row.state for row in Invoice.objects.all()} == {"draft"}
        assert not InvoiceLine.objects.exists()
        with selling.role("exchequer_control"):
            Reconciliation.objects.update(faults=[])
    with selling.role("exchequer_operator"):
        assert NumberSeries.objects.get(prefix="INV").next_number == 1
    finalise(tenant)
    finalise(tenant, draft_of(tenant, APRIL))


@pytest.mark.django_db(transaction=True)
def test_b9_of_twenty_who_finalise_at_once_each_invoice_gets_one_number_without_gaps(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenants = [used(demo_clock, 300 + number) for number in range(8)]
    drafts = {tenant.id: draft_of(tenant) for tenant in tenants}

    def work(number: int) -> str:
        tenant = tenants[number % len(tenants)]
        try:
            return finalise(tenant, drafts[tenant.id])
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        labels = list(pool.map(work, range(40)))
    assert sorted(set(labels)) == [f"INV-{number:06}" for number in range(1, 9)]
    for tenant in tenants:
        with tenant_scope(tenant.id):
            assert Invoice.objects.get().state == "finalised"
            assert InvoiceLine.objects.count() == 1
