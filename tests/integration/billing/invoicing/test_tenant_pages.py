"""The tenant's page of an invoice: what it states, what followed it, and which month a line corrects."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing import queries
from billing.invoices import crediting, paying, voiding
from billing.invoices.crediting import Part
from billing.metering.metering import record_usage
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.api.billing.documents import listed, pages, take
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import (
    APRIL,
    IN_APRIL,
    IN_MARCH,
    draft_of,
    finalise,
    issued,
    name_the_seller,
    used,
)  # fmt: skip
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import interval

if TYPE_CHECKING:
    from tenants.models import Tenant
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def page_of(tenant: Tenant, invoice: UUID) -> str:
    return words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{invoice}/"))


def test_a_finalised_invoice_states_its_number_both_sides_and_what_is_due(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000, 30_000, tax="19")
    text = page_of(tenant, invoice)
    for part in (
        "Invoice INV-000001, March 2027",
        "Tax, 19 % of €4.50 €0.86",
        "Due €5.36 Due on 2 May 2027",
        "Compute GmbH",
        "IBAN DE00",
        "Open",
    ):
        assert part in text, part
    assert "@platform.example" not in text, "operators are not named to tenants"
    demo_clock.move_to(IN_APRIL + timedelta(days=60))
    assert "Past due" in page_of(tenant, invoice)


def test_credit_notes_and_payments_are_listed(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    with tenant_scope(tenant.id):
        (line,) = queries.invoice_lines(invoice)
    given = {"operator": selling.SELLER, "tenant_id": tenant.id, "invoice_id": invoice}
    with selling.role("exchequer_operator"):
        crediting.credit(**given, parts=[Part(line.id, Decimal("0.50"))], reason="a node failed")  # type: ignore[arg-type]
        received = paying.Received(amount=Decimal("2.50"), received_on=IN_APRIL.date(), reference="wire 17")
        paying.mark_paid(**given, received=received)  # type: ignore[arg-type]
    text = page_of(tenant, invoice)
    assert "CN-000001 a node failed" in text and "Line 1: €0.50" in text
    assert "2 April 2027 Payment wire 17 €2.50" in text
    assert "Credited −€0.50 Paid −€2.50 Due €0.00" in text
    assert "@platform.example" not in text


def test_a_void_invoice_names_the_one_in_its_place_and_back(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    with selling.role("exchequer_operator"):
        made = voiding.void(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="a wrong address", reissue=True
        )
    client, path = client_for(tenant, "finance"), f"/t/{tenant.slug}/invoices"
    assert f'href="{path}/{made}/">a draft</a>' in text_of(client.get(f"{path}/{invoice}/"))
    assert "The month is closed: no usage changes a line." in words(client.get(f"{path}/{made}/"))
    finalise(tenant)
    text = text_of(client.get(f"{path}/{invoice}/"))
    assert f'href="{path}/{made}/">INV-000002</a>' in text
    assert "Reason: a wrong address" in text
    assert f'href="{path}/{invoice}/">INV-000001</a>, which is void' in text_of(client.get(f"{path}/{made}/"))


def test_a_correction_names_its_month_on_the_draft_and_on_its_line(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        record_usage([interval(project, IN_MARCH + timedelta(days=1), 20_000)])
    draft = draft_of(tenant, APRIL)
    text = page_of(tenant, draft)
    assert "Draft invoice April 2027" in text
    assert "corrects March 2027" in text
    assert "Open" in text.partition("Other months")[2]
    line = words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{draft}/lines/1/"))
    assert "corrects March 2027 That month was closed before" in line
    assert "corrects" not in words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{invoice}/lines/1/"))


def test_the_page_links_the_pdf_of_the_invoice_and_of_its_credit_note(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    given = {"operator": selling.SELLER, "tenant_id": tenant.id, "invoice_id": invoice}
    with selling.role("exchequer_operator"):
        crediting.credit(**given, parts=[], reason="a node failed")  # type: ignore[arg-type]
    client = client_for(tenant, "finance")
    page = text_of(client.get(f"/t/{tenant.slug}/invoices/{invoice}/"))
    for link, name in zip(re.findall(r'href="([^"]+\.pdf)"', page), ("INV-000001", "CN-000001"), strict=True):
        assert client.head(link)["Content-Type"] == "application/pdf"
        answer = client.get(link)
        assert answer.status_code == 200
        assert answer.content.startswith(b"%PDF")
        assert answer["Content-Disposition"] == f'attachment; filename="{name}.pdf"'
    with tenant_scope(tenant.id):
        taken = AuditEntry.objects.filter(action="billing.document.downloaded").order_by("seq")
        assert [entry.target_label for entry in taken] == ["INV-000001.pdf", "CN-000001.pdf"]
    other = client_for(factories.make_tenant("theirs"), "finance")
    assert other.get(f"/t/theirs/invoices/{invoice}/invoice.pdf").status_code == 404


def test_usage_without_a_price_shows_what_was_measured_and_that_it_is_free(demo_clock: DemoClock, seller: Any) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60_000)
    demo_clock.move_to(IN_MARCH)
    with tenant_scope(tenant.id):
        record_usage(
            [interval(factories.make_project(tenant).id, IN_MARCH - timedelta(hours=2), 4_321, meter="batch_seconds")]
        )
    demo_clock.move_to(IN_APRIL)
    invoice = draft_of(tenant)
    for state in ("draft", "finalised"):
        for page in (page_of(tenant, invoice), words(seller("platform_finance").get(f"/invoices/{invoice}/"))):
            assert re.search(r"Batch prediction time.*no price was in force 4,321 s no price €0\.00", page), (
                state,
                page,
            )
            assert "60,000 s €0.00005 a second €3.00" in page, (state, page)
        line = words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{invoice}/lines/2/"))
        assert "4,321 s measured, and free" in line
        (pdf,) = pages(take(tenant, f"{invoice}/pdf/"))
        assert "no price" in pdf and "4,321" in pdf
        row = listed(take(tenant, f"{invoice}/csv/"))[1]
        assert [Decimal(row[name]) for name in ("measured", "quantity")] == [4_321, 0]
        assert (row["unit_amount"], row["details"]) == ("", "price=none")
        if state == "draft":
            finalise(tenant)
