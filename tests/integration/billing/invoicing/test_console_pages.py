"""Pages of the console about invoices: the list, many finalised at once, the forms that settle one, and the seller."""

from __future__ import annotations

import csv
import html
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from billing.invoices import parties
from billing.models import CreditNote, Invoice, Payment, Reconciliation
from billing.reconciling import orders
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import IN_APRIL, draft_of, issued, name_the_seller, used
from tests.support import factories, selling
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
SELLER = {"name": "Compute GmbH", "address": "1 Main Street", "country": "DE", "reason": "the first seller"}


@pytest.fixture
def finance(seller: Any) -> Any:
    return seller("platform_finance")


def words(answer: Any) -> str:
    """Return what a person reads of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text_of(answer).partition("<main")[2])).split())


def stored(tenant: Tenant, invoice_id: UUID) -> Invoice:
    with tenant_scope(tenant.id):
        return Invoice.objects.get(pk=invoice_id)


def shown(browser: Any, path: str) -> str:
    """Return the hidden field of a form that settles an invoice."""
    found = re.search(r'name="shown" value="([^"]*)"', browser.get(path).content.decode())
    assert found
    return found[1]


def test_the_seller_is_entered_and_then_named_by_the_list(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 60_000)
    page = f"/invoices/{draft_of(tenant)}/"
    assert "No seller is entered" in words(finance.get("/invoices/"))
    assert "Enter the seller first" in words(finance.get(page))
    refused = finance.post(f"{page}finalise/")
    assert refused.status_code == 422
    assert "Enter the name and address of the seller" in words(refused)
    asked = finance.post("/invoices/seller/", SELLER)
    assert (asked.status_code, asked["Location"].partition("?")[0]) == (302, "/accounts/reauthenticate/")
    finance.prove(factories.PASSWORD)
    for wrong, message in (
        ({"name": " "}, "This field is required."),
        ({"country": "d1"}, "There is no country of this code"),
        ({"email": "nobody"}, "Enter a valid email address"),
        ({"reason": "x"}, "Say why, in 3 to 400 characters."),
    ):
        answer = finance.post("/invoices/seller/", {**SELLER, **wrong})
        assert answer.status_code == 422
        assert message in words(answer)
        assert 'value="Compute GmbH"' in text_of(answer) or "name" in wrong
    assert not parties.current_seller().may_issue
    assert finance.post("/invoices/seller/", SELLER).status_code == 302
    assert "No seller is entered" not in words(finance.get("/invoices/"))
    assert parties.current_seller().name == "Compute GmbH"


def test_the_list_is_filtered_and_exported(demo_clock: DemoClock, finance: Any, as_control: Any) -> None:
    tenant, _ = issued(demo_clock, 60_000, tax="19")
    other = used(demo_clock, 30_000)
    page = words(finance.get("/invoices/"))
    assert "INV-000001" in page and tenant.slug in page and "€3.57" in page
    assert "No number yet" in page and other.slug in page and "€1.50" in page, "a draft's total is computed"
    for query, first, second in (
        ("status=open", True, False),
        ("status=draft", False, True),
        ("status=past_due", False, False),
        ("month=2027-03", True, True),
        ("month=2027-04", False, False),
        (f"organisation={other.slug}", False, True),
        (f"organisation={tenant.name.upper()}", True, False),
    ):
        page = words(finance.get(f"/invoices/?{query}"))
        assert ("INV-000001" in page, "No number yet" in page) == (first, second), query
    demo_clock.move_to(IN_APRIL + timedelta(days=60))
    assert "INV-000001" in words(finance.get("/invoices/?status=past_due"))
    assert "Give a month such as 2026-11." in words(finance.get("/invoices/?month=2027-13"))
    answer = finance.get("/invoices/?export=csv&month=2027-03")
    rows = list(csv.DictReader(answer.content.decode().splitlines()))
    assert {(row["number"], row["status"], row["organisation"]) for row in rows} == {
        ("INV-000001", "past_due", tenant.slug),
        ("", "draft", other.slug),
    }
    assert {row["total"] for row in rows} == {"3.57", "1.50"}
    assert finance.get("/invoices/?export=csv&month=2027-13").status_code == 400
    assert finance.get("/invoices/?export=csv&sort=total").status_code == 400
    with as_control():
        assert OperatorAct.objects.filter(action="billing.invoices.exported").count() == 1


def test_the_list_has_pages_that_keep_the_filter(demo_clock: DemoClock, finance: Any) -> None:
    tenant = used(demo_clock, 60_000)
    months = [datetime(2023 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(50)]
    with selling.role("exchequer_operator"), tenant_scope(tenant.id):
        Invoice.objects.bulk_create(
            Invoice(period=one.date(), starts_at=one, ends_at=one + timedelta(days=28), currency="EUR")
            for one in months
        )
    first = finance.get(f"/invoices/?organisation={tenant.slug}")
    assert "March 2027" in words(first) and "January 2023" not in words(first)
    older = re.search(r'href="([^"]*cursor=[^"]*)" rel="next"', text_of(first))
    assert older
    second = finance.get(f"/invoices/{html.unescape(older[1])}")
    assert f"organisation={tenant.slug}" in older[1]
    assert "January 2023" in words(second) and "March 2027" not in words(second)


def test_many_drafts_are_finalised_each_by_itself(demo_clock: DemoClock, finance: Any) -> None:
    name_the_seller()
    tenants = [used(demo_clock, 60_000) for _ in range(3)]
    ids = [draft_of(tenant) for tenant in tenants]
    page = text_of(finance.get("/invoices/?month=2027-03"))
    assert page.count('name="invoice"') == 3
    with selling.role("exchequer_control"), tenant_scope(tenants[1].id):
        Reconciliation.objects.create(faults=["line 1 states 2.00, usage 3.00"])
    answer = finance.post("/invoices/?month=2027-03", {"invoice": [*map(str, ids), str(uuid4()), "x"]})
    assert answer.status_code == 422
    text = words(answer)
    assert "2 invoices are finalised: INV-000001 to INV-000002." in text
    assert f"{tenants[1].name}, March 2027: The figures of this organisation do not agree" in text
    assert "checked" in text_of(answer)
    states = [stored(tenant, invoice).state for tenant, invoice in zip(tenants, ids, strict=True)]
    assert states == ["finalised", "draft", "finalised"]
    assert "Organisations whose figures differ: nothing of them is finalised 1" in words(finance.get("/"))
    differ = words(finance.get("/invoices/reconciliation/"))
    assert f"{tenants[1].name} {tenants[1].slug} line 1 states 2.00, usage 3.00" in differ
    assert tenants[0].name not in differ
    assert finance.post("/invoices/reconciliation/").status_code == 302
    with selling.role("exchequer_control"):
        orders.carry_out()
    assert "All figures agree" in words(finance.get("/invoices/reconciliation/"))
    again = finance.post("/invoices/", {"invoice": str(ids[0])}, follow=True)
    assert again.redirect_chain[0][1] == 302
    assert "No invoice was finalised. 1 of the chosen was final before." in words(again)
    unsent = finance.post("/invoices/", {"act": "send"}, follow=True)
    assert "No invoice was sent. Choose at least one that has a number." in words(unsent)
    nothing = finance.post("/invoices/")
    assert (nothing.status_code, "Choose at least one draft" in words(nothing)) == (422, True)


def test_a_draft_is_reviewed_and_finalised(demo_clock: DemoClock, finance: Any) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60_000, 30_000, tax_rate=19)
    invoice = draft_of(tenant)
    page = f"/invoices/{invoice}/"
    draft = words(finance.get(page))
    assert "March 2027 closes for" in draft and "Tax, 19 % of €4.50 €0.86" in draft and "€5.36" in draft
    assert finance.post(f"{page}review/", {"in_review": "1"}).status_code == 302
    assert "In review" in words(finance.get(page))
    assert finance.post(f"{page}finalise/").status_code == 302
    done = words(finance.get(page))
    row = stored(tenant, invoice)
    assert "Invoice INV-000001" in done and bytes(row.content_hash).hex() in done
    assert "Compute GmbH" in done and tenant.name in done
    assert "Invoice reviewed: to review platform_finance@" in done and "Invoice finalised" in done
    with tenant_scope(tenant.id):
        assert not any(project in done for project in row.lines.values_list("project_name", flat=True))
        assert all(f"Project {str(project)[-8:]}" in done for project in row.lines.values_list("project_id", flat=True))
    refused = finance.post(f"{page}review/", {"in_review": "0"})
    assert (refused.status_code, "It never changes" in words(refused)) == (422, True)
    rows = list(csv.DictReader(finance.get(f"{page}?export=csv").content.decode().splitlines()))
    assert [(line["amount"], line["tax"]) for line in rows] == [
        ("3.00", "0.57"),
        ("1.50", "0.29"),
    ]


def test_a_payment_is_recorded_and_a_second_click_is_refused(demo_clock: DemoClock, finance: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    page, path = f"/invoices/{invoice}/", f"/invoices/{invoice}/payments/"
    assert 'value="3.00"' in text_of(finance.get(page)), "what is due, as money is written"
    body = {"amount": "1.00", "received_on": "2027-04-02", "reference": "wire 17", "shown": shown(finance, page)}
    for wrong, message in (
        ({"amount": "3.01"}, "€3.00 is due: record no more than that."),
        ({"amount": "0.001"}, "Give the amount with at most 2 decimals."),
        ({"amount": "much"}, "This is not an amount."),
        ({"received_on": "2027-05-01"}, "not one to come"),
        ({"received_on": "2027-03-31"}, "The invoice was issued on 2027-04-02"),
        ({"received_on": "0001-01-01"}, "1970-01-01"),
        ({"shown": "0 9"}, "Money was credited or paid since this form was opened."),
    ):
        answer = finance.post(path, {**body, **wrong})
        assert answer.status_code == 422
        assert message in words(answer)
        assert 'value="wire 17"' in text_of(answer), "what was typed is still there"
    assert finance.post(path, body).status_code == 302
    assert finance.post(path, body).status_code == 422
    text = words(finance.get(page))
    assert "Paid −€1.00" in text and "Due €2.00" in text and "wire 17" in text
    assert "Payment recorded platform_finance@" in text.partition("What happened")[2]
    rest = {**body, "amount": "2,00", "shown": shown(finance, page)}
    assert finance.post(path, rest).status_code == 302
    assert stored(tenant, invoice).state == "paid"
    with tenant_scope(tenant.id):
        assert Payment.objects.count() == 2


def test_lines_are_credited_by_amount_and_the_rest_as_a_whole(demo_clock: DemoClock, finance: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000, 30_000, tax="19")
    page, path = f"/invoices/{invoice}/", f"/invoices/{invoice}/credit-notes/new/"
    body = {"line_2": "0,50", "paid_back": "refund", "reason": "a node failed", "shown": shown(finance, path)}
    for wrong, message in (
        ({"line_2": ""}, "Give an amount for at least one line"),
        ({"line_2": "-1"}, "Give an amount above 0."),
        ({"line_2": "0.005"}, "Give the amount with at most 2 decimals."),
        ({"line_2": "1.51"}, "At most €1.50 is left of line 2."),
        ({"reason": "x"}, "Say why, in 3 to 400 characters."),
        ({"paid_back": "cash"}, "Select a valid choice"),
        ({"shown": ""}, "Money was credited or paid since this form was opened."),
    ):
        answer = finance.post(path, {**body, **wrong})
        assert answer.status_code == 422, wrong
        assert message in words(answer), wrong
    with tenant_scope(tenant.id):
        assert not CreditNote.objects.exists()
    assert finance.post(path, body).status_code == 302
    assert finance.post(path, body).status_code == 422, "a second click credits nothing"
    text = words(finance.get(page))
    assert "CN-000001 a node failed" in text and "Line 2: €0.50" in text and "Credited −€0.60" in text
    theirs = words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{invoice}/"))
    assert "Line 2: €0.50" in theirs and "Line 2 ·" in theirs, "which line that is stands beside it"
    (note,) = re.findall(r'href="(\S+/pdf/)" download>CN-000001', text_of(finance.get(page)))
    assert finance.get(note).content.startswith(b"%PDF")
    assert "CN-000001.pdf" in words(finance.get("/log/"))
    form = finance.get(path)
    assert re.findall(r"€\S+", words(form).partition("Left to credit")[2])[:4] == ["€3.00", "€3.00", "€1.50", "€1.00"]
    assert "Issue a credit note" in text
    rest = {"whole": "1", "paid_back": "refund", "reason": "goodwill", "shown": shown(finance, path)}
    assert finance.post(path, rest).status_code == 302
    assert "Issue a credit note" not in words(finance.get(page)), "nothing is left to credit"
    assert (stored(tenant, invoice).state, stored(tenant, invoice).credited) == ("paid", stored(tenant, invoice).total)
    again = finance.post(path, {**rest, "shown": shown(finance, path)})
    assert (again.status_code, "Nothing is left to credit." in words(again)) == (422, True)


def test_a_void_invoice_leads_to_the_one_in_its_place_and_back(demo_clock: DemoClock, finance: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    page = f"/invoices/{invoice}/"
    refused = finance.post(f"{page}void/", {"reason": "x", "reissue": "on"})
    assert (refused.status_code, "Say why" in words(refused)) == (422, True)
    made = finance.post(f"{page}void/", {"reason": "a wrong address", "reissue": "on"})
    draft = draft_of(tenant)
    assert (made.status_code, made.url) == (302, f"/invoices/{draft}/")
    text = text_of(finance.get(page))
    assert "This invoice is void" in text and "a wrong address" in text and f'href="/invoices/{draft}/"' in text
    assert f'href="{page}">INV-000001</a>' in text_of(finance.get(f"/invoices/{draft}/"))
    assert "Nothing to credit" in words(finance.get(f"{page}credit-notes/new/"))
    again = finance.post(f"{page}void/", {"reason": "a wrong address"})
    assert (again.status_code, "can be voided" in words(again)) == (422, True)


def test_support_sees_invoices_and_changes_none(demo_clock: DemoClock, seller: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    draft = draft_of(used(demo_clock, 60_000))
    support = seller("platform_support")
    for path in ("/invoices/", "/invoices/seller/", f"/invoices/{invoice}/", f"/invoices/{draft}/"):
        answer = support.get(path)
        assert answer.status_code == 200, path
        assert '<form method="post"' not in text_of(answer).partition("<main")[2] or path == "/invoices/"
    assert 'name="invoice"' not in text_of(support.get("/invoices/"))
    assert support.get(f"/invoices/{invoice}/credit-notes/new/").status_code == 403
    for path in ("", "seller/", f"{draft}/review/", f"{draft}/finalise/", f"{invoice}/void/", f"{invoice}/payments/"):
        assert support.post(f"/invoices/{path}", {"invoice": str(draft)}).status_code == 403, path
    assert support.post(f"/invoices/{invoice}/credit-notes/new/").status_code == 403
    assert stored(tenant, invoice).state == "finalised"


def test_an_unknown_invoice_is_not_found(finance: Any) -> None:
    for part in ("", "credit-notes/new/"):
        assert finance.get(f"/invoices/{uuid4()}/{part}").status_code == 404
    for part in ("review/", "finalise/", "void/", "payments/", "credit-notes/new/"):
        assert finance.post(f"/invoices/{uuid4()}/{part}", {"reason": "a reason"}).status_code == 404
    assert finance.get(f"/invoices/{uuid4()}/void/").status_code == 405
