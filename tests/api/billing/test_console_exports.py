"""The seller's export of a month: all organisations or one, by line, without names; it adds up to their invoices."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing import queries
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct
from tests.integration.billing.invoicing import scene
from tests.support import selling
from tests.support.billing import focus_rules

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
PATH = "/api/operator/v1/exports/focus/"


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.content
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def test_a_month_of_all_organisations_adds_up_to_their_invoices(demo_clock: DemoClock, seller: Any) -> None:
    scene.name_the_seller()
    tenants = [scene.used(demo_clock, *seconds, tax_rate=Decimal(19)) for seconds in ((3_333, 7), (5_001,))]
    scene.finalise(tenants[0])
    finance = seller("platform_finance")
    answer = finance.get(f"{PATH}?period=2027-03")
    text = answer.getvalue().decode()
    assert focus_rules.faults(text) == []
    rows = list(csv.DictReader(io.StringIO(text)))
    for tenant in tenants:
        with tenant_scope(tenant.id):
            view = queries.invoice(scene.draft_of(tenant))
        own = [row for row in rows if row["BillingAccountId"] == str(tenant.id)]
        assert sum(Decimal(row["BilledCost"]) for row in own) == view.total.amount
        assert {row["InvoiceId"] for row in own} == {view.number}
        assert own == rows_of(finance.get(f"{PATH}?period=2027-03&tenant={tenant.id}"))
    # The page of the month links the same file.
    page = finance.get("/invoices/months/2027-03/").content.decode()
    (link,) = re.findall(r'href="([^"]*exports/focus/[^"]*)"', page)
    assert finance.get(link).getvalue().decode() == text
    # A project is its id, and no resource or tag is named.
    assert all(row["SubAccountName"] == row["SubAccountId"] for row in rows)
    assert {(row["ResourceId"], row["Tags"], row["x_JobId"]) for row in rows} == {("", "", "")}
    with selling.role("exchequer_operator"):
        acts = list(OperatorAct.objects.filter(action="billing.export.downloaded"))
    assert [act.target_label for act in acts] == ["focus-1.2-2027-03.csv"] * 4


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("period=2027-13", 400),
        ("period=2027-03&tenant=x", 400),
        (f"period=2027-03&tenant={UUID(int=9)}", 404),
    ],
)
def test_a_month_and_a_known_organisation_are_asked_for(seller: Any, query: str, status: int) -> None:
    assert seller("platform_support").get(f"{PATH}?{query}").status_code == status
