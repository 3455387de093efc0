"""Statements of account: every balance is the ledger's, and the page, the CSV and the PDF state the same."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.db.models import Sum

from billing.invoices.crediting import Part
from billing.models import InvoiceLine, LedgerPosting
from billing.queries.owed.statements import Statement, statement
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.till import Till, credit, pay_by_hand, void
from tests.support.selling import role

pytestmark = pytest.mark.django_db
FIRST, LAST = date(2027, 4, 1), date(2027, 4, 20)


@pytest.fixture
def till(request: pytest.FixtureRequest, settings: Any, demo_clock: Any) -> Any:
    """An installation that collects through the stand-in."""
    from tests.fakes.stripe import stripe_server
    from tests.integration.billing.invoicing.scene import IN_APRIL

    demo_clock.move_to(IN_APRIL)
    with stripe_server(IN_APRIL) as fake:
        yield Till(fake, settings, demo_clock)


def lived(till: Till) -> tuple[Tenant, list[Decimal]]:
    """Return a tenant whose account moved in every way, a day each, with the ledger's receivable at each day's end."""
    tenant, invoice = till.finalised(60_000, tax="19")
    with tenant_scope(tenant.id):
        line = InvoiceLine.objects.filter(invoice=invoice).values_list("id", flat=True).get()
    other = till.top_up(tenant, "20.00")
    wrong = till.top_up(tenant, "7.00")
    till.sweep(tenant)
    acts = [
        lambda: pay_by_hand(tenant, invoice, "1.00"),
        lambda: credit(tenant, invoice, Part(line, Decimal("0.50"))),
        lambda: (till.sweep(tenant), till.pay_at(till.url(tenant, invoice)), till.settle(tenant, sweeps=1)),
        lambda: credit(tenant, invoice, Part(line, Decimal("1.00"))),
        lambda: pay_by_hand(tenant, other, "20.00"),
        lambda: void(tenant, wrong),
    ]
    balances = [receivable(tenant)]
    for act in acts:
        till.advance(days=1)
        act()
        balances.append(receivable(tenant))
    return tenant, balances


def receivable(tenant: Tenant) -> Decimal:
    with tenant_scope(tenant.id):
        found = LedgerPosting.objects.filter(account="receivable").aggregate(total=Sum("amount"))["total"]
    return found or Decimal(0)


def stated(tenant: Tenant, start: date, end: date) -> Statement:
    with tenant_scope(tenant.id):
        return statement(start, end, "EUR")


def test_each_days_balance_is_the_ledgers_receivable_and_ranges_join(till: Till) -> None:
    tenant, balances = lived(till)
    day = date(2027, 4, 2)
    for at, balance in enumerate(balances):
        assert stated(tenant, FIRST, day + timedelta(days=at)).closing.amount == balance, at
    whole = stated(tenant, FIRST, LAST)
    assert (whole.opening.minor, whole.closing.amount) == (0, receivable(tenant))
    kinds = {one.kind for one in whole.entries}
    assert kinds == {"invoice", "void", "credit note", "payment", "refund"}
    for at in range(8):
        cut = day + timedelta(days=at)
        before, after = stated(tenant, FIRST, cut), stated(tenant, cut + timedelta(days=1), LAST)
        assert after.opening == before.closing
        assert [*before.entries, *after.entries] == list(whole.entries)


def test_page_csv_pdf_and_console_state_the_same(till: Till, seller: Any) -> None:
    tenant, _ = lived(till)
    member = client_for(tenant, "finance")
    asked = f"?start={FIRST}&end={LAST}"
    page = member.get(f"/t/{tenant.slug}/statement/{asked}")
    assert page.status_code == 200
    whole = stated(tenant, FIRST, LAST)
    assert page.content.decode().count("data-row") == len(whole.entries)
    sent = member.get(f"/t/{tenant.slug}/statement/{asked}&export=csv")
    text = b"".join(sent.streaming_content).decode() if sent.streaming else sent.content.decode()
    rows = list(csv.DictReader(StringIO(text.lstrip("\ufeff"))))
    assert sent["Content-Type"].startswith("text/csv")
    assert len(rows) == len(whole.entries) + 2
    assert Decimal(rows[-1]["balance"]) == whole.closing.amount
    pdf = member.get(f"/t/{tenant.slug}/statement/statement.pdf{asked}")
    assert pdf.content.startswith(b"%PDF")
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="billing.document.downloaded").count() == 1
    api = f"/api/v1/statement/?from={FIRST}&to={LAST}&currency=EUR"
    found = member.get(api).json()
    assert Decimal(found["closing"]["amount"]) == whole.closing.amount
    assert [one["number"] for one in found["entries"]] == [one.number for one in whole.entries]
    assert member.get(api.replace("/?", "/pdf/?")).content.startswith(b"%PDF")
    for wrong in ("from=soon", "to=9999-12-31", "currency=XXX", f"from={LAST}&to={FIRST}"):
        assert member.get(f"/api/v1/statement/?{wrong}").status_code == 400, wrong
    console = seller("platform_support")
    file = console.get(f"/invoices/statements/{tenant.id}/statement.pdf{asked}")
    assert file.content.startswith(b"%PDF")
    assert f"statement-{FIRST}-{LAST}.pdf" in file["Content-Disposition"]
    with role("exchequer_operator"):
        act = OperatorAct.objects.get(action="billing.statement.exported")
    assert act.target_label == f"{tenant.slug}: statement-{FIRST}-{LAST}.pdf"
    shown = console.get(f"/invoices/statements/{tenant.id}/{asked}")
    assert (shown.status_code, shown.content.decode().count("data-row")) == (200, len(whole.entries))
    assert console.get(f"/invoices/statements/{tenant.id}/{asked}&export=csv").status_code == 200


@pytest.mark.parametrize(
    "asked", ["?start=2027-04-02&end=2027-04-01", "?start=soon", "?start=1900-01-01", "?currency=XXX"]
)
def test_a_range_that_cannot_be_shown_is_refused_in_words(till: Till, asked: str) -> None:
    tenant, _ = till.finalised()
    page = client_for(tenant, "finance").get(f"/t/{tenant.slug}/statement/{asked}")
    assert page.status_code == 422
    assert "x-field-error" in page.content.decode()
    with role("exchequer_app"):
        pdf = client_for(tenant, "finance").get(f"/t/{tenant.slug}/statement/statement.pdf{asked}")
    assert pdf.status_code in (400, 422)
