"""A month from use to export: jobs and batches run, the month is finalised, a part is credited, and the file says the same."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from billing.money import Money
from billing.queries.issued import credit_notes
from tenants.isolation.scoping import tenant_scope
from tests.integration.billing.exports.scene import closed, credited, late, rows_of, take, text_of, total, view
from tests.integration.billing.invoicing import scene
from tests.support.billing import focus_rules

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def test_b61_a_month_exported_as_focus_equals_invoice_and_credit_note_to_the_cent(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    credited(tenant, invoice, "0.33")
    credited(tenant, invoice, "0.34")
    late(tenant)
    assert focus_rules.faults(text_of(take(tenant, "period=2027-03"))) == []
    rows = rows_of(take(tenant, "period=2027-03"))
    found = view(tenant, invoice)
    with tenant_scope(tenant.id):
        notes = credit_notes(invoice)
    of = {number: [row for row in rows if row["InvoiceId"] == number] for number in {row["InvoiceId"] for row in rows}}
    assert of.keys() == {found.number, *(note.number for note in notes)}
    assert total(of[found.number]) == found.total
    for note in notes:
        assert total(of[note.number]) == -note.total
        assert {row["ChargeClass"] for row in of[note.number]} == {"Correction"}
    assert total(rows) == found.total - sum((note.total for note in notes), Money.zero("EUR"))
    # What came late is on the next draft, which adds up too.
    april = rows_of(take(tenant, "period=2027-04"))
    assert total(april) == view(tenant, scene.draft_of(tenant, scene.APRIL)).total
    both = rows_of(take(tenant, "from=2027-03-01&to=2027-05-01&version=plain"))
    assert sum(Decimal(row["amount"]) for row in both) == (total(rows) + total(april)).amount
