"""Tax on invoices: which rate the table gives, live on the draft, frozen by rate, on its pages and its document."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connection

from billing import queries
from billing.invoices import crediting, finalising
from billing.invoices.crediting import Part
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import Contract, CreditNote, InvoiceLine
from billing.pricing import contracts
from billing.wallets.blocks import lock_wallet
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.billing.documents import pages, take
from tests.integration.billing.invoicing.scene import IN_MARCH, draft_of, finalise, name_the_seller, used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.billing.taxes.scene import SINCE, enter
from tests.support import selling
from tests.support.billing.rerater import Rerated
from tests.support.factories import default_project_id, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
#: (customer's country, tax id) -> rate in per cent and code of the note.
PLACES = {
    ("DE", ""): ("19", ""),
    ("DE", "DE136695976"): ("19", ""),
    ("FR", "FR 40 303265045"): ("0", "VATEX-EU-AE"),
    ("GR", "EL094259216"): ("0", "VATEX-EU-AE"),
    ("FR", "FR40303265046"): ("20", ""),  # its check digits are wrong: no reverse charge
    ("FR", "303265045"): ("20", ""),
    ("FR", "DE136695976"): ("20", ""),
    ("CH", "CHE-107.787.577 IVA"): ("8.1", ""),
    ("US", ""): ("0", "VATEX-EU-O"),
}


def registered() -> None:
    name_the_seller()
    enter()
    enter("FR", "20")
    enter("CH", "8.1", name="MWST")


def view_of(tenant: Tenant, invoice: UUID | None = None) -> Any:
    with tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []
        return queries.invoice(invoice or draft_of(tenant))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_b51_the_countries_and_a_sound_tax_id_decide_the_rate(demo_clock: DemoClock, place: tuple[str, str]) -> None:
    registered()
    country, tax_number = place
    tenant = used(demo_clock, 20_000, country=country, tax_number=tax_number)
    draft = view_of(tenant)
    (row,) = draft.taxes
    assert (row.rate, row.note) == (Decimal(PLACES[place][0]), PLACES[place][1])
    assert draft.total.amount == 1 + round(row.rate / 100, 2)
    finalise(tenant)
    frozen = view_of(tenant)
    assert (frozen.taxes, frozen.total) == (draft.taxes, draft.total)


def test_what_a_contract_states_comes_first_and_without_a_table_nothing_is_taxed(demo_clock: DemoClock) -> None:
    name_the_seller()
    untaxed = used(demo_clock, 20_000, country="DE")
    assert list(view_of(untaxed).taxes) == []
    enter()
    stated = used(demo_clock, 20_000, country="DE", tax_rate=Decimal("7.7"))
    assert [(row.rate, row.name) for row in view_of(stated).taxes] == [(Decimal("7.7"), "")]


def test_b51_a_product_may_have_a_rate_of_its_own_and_a_re_rater_agrees(demo_clock: DemoClock) -> None:
    registered()
    enter(percent="7", product="batch_seconds", name="Reduced")
    tenant = used(demo_clock, 20_000, country="DE")
    book = selling.NewPrice("batch_seconds", {}, Decimal("0.001"))
    demo_clock.move_to(IN_MARCH)
    with tenant_scope(tenant.id):
        selling.publish(prices=[selling.NewPrice("device_seconds", {}, Decimal("0.00005")), book])
    demo_clock.advance(timedelta(hours=10))
    with tenant_scope(tenant.id):
        project = default_project_id(tenant)
        record_usage([interval(project, IN_MARCH + timedelta(hours=2), 10_000, meter="batch_seconds")])
    demo_clock.move_to(IN_MARCH + timedelta(days=20))
    draft = view_of(tenant)
    assert [(row.name, row.rate, row.taxable.amount, row.tax.amount) for row in draft.taxes] == [
        ("VAT", 19, 1, Decimal("0.19")), ("Reduced", 7, 10, Decimal("0.7")),
    ]  # fmt: skip
    finalise(tenant)
    with tenant_scope(tenant.id):
        lines = list(InvoiceLine.objects.order_by("n"))
        assert {(line.meter, line.tax_rate, line.tax) for line in lines} == {
            ("device_seconds", 19, Decimal("0.19")), ("batch_seconds", 7, Decimal("0.7")),
        }  # fmt: skip
        view, shown = queries.invoice(draft_of(tenant)), queries.invoice_lines(draft_of(tenant))
    usage = [
        {
            "key": str(one.id), "project": str(one.project_id), "meter": one.meter, "price": str(one.price_id),
            "quantity": str(one.quantity), "amount": str(one.exact.amount), "origin": None,
        }
        for one in shown
    ]  # fmt: skip
    rates = [("standard", "19"), ("batch_seconds", "7")]
    table = [{"country": "DE", "percent": percent, "product": name, "starts_on": "2007-01-01", "ends_on": None} for name, percent in rates]  # fmt: skip
    taxed = {
        "seller": "DE", "buyer": "DE", "tax_id": None, "exempt": False, "products": {"batch_seconds": "batch_seconds"},
        "rates": table,
    }  # fmt: skip
    other = Rerated({"usage": usage, "terms": {"currency": "EUR"}, "credits": [], "tax": taxed, "at": "2027-03-31"})
    assert (other.subtotal, other.total) == (view.subtotal.minor, view.total.minor)
    batch = next(line for line in lines if line.meter == "batch_seconds")
    with selling.role("exchequer_operator"):
        crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=batch.invoice_id, reason="a node failed",
            parts=[Part(batch.pk, Decimal(5))], paid_back="refund",
        )  # fmt: skip
    with tenant_scope(tenant.id):
        assert CreditNote.objects.get().tax == Decimal("0.35")
    view_of(tenant)


def test_where_the_rate_is_missing_the_draft_says_so_and_is_not_finalised(demo_clock: DemoClock, seller: Any) -> None:
    name_the_seller()
    enter("FR", "20", ends_on=date(2027, 3, 31), starts_on=SINCE)
    enter()
    tenant = used(demo_clock, 20_000, country="FR")
    finance = seller("platform_finance")
    page = f"/invoices/{draft_of(tenant)}/"
    assert "No tax rate for FR is in force on 2027-03-31." in words(finance.get(page))
    refused = finance.post(f"/api/operator/v1{page}finalise/", {}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "tax_unknown")
    with pytest.raises(finalising.TaxUnknown):
        finalise(tenant)
    enter("FR", "21", date(2027, 3, 31))
    finalise(tenant)
    assert [row.rate for row in view_of(tenant).taxes] == [21]


def test_b51_a_missing_country_is_no_freedom_from_tax(demo_clock: DemoClock, seller: Any) -> None:
    enter()
    name_the_seller()
    tenant = used(demo_clock, 20_000)
    finance, page = seller("platform_finance"), f"/invoices/{draft_of(tenant)}/"
    assert "The contract has no country, which decides the tax." in words(finance.get(page))
    refused = finance.post(f"/api/operator/v1{page}finalise/", {}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "tax_unknown")
    details = {"billing_name": "Vision GmbH", "country": "XX", "reason": "They forgot it"}
    form = f"/contracts/{tenant.id}/billing-details/"
    assert finance.post(form, details).status_code == 422
    assert finance.post(form, details | {"country": "DE"}).status_code == 302
    finalise(tenant)
    assert [row.rate for row in view_of(tenant).taxes] == [19]
    assert finance.post(form, details | {"country": "FR"}).status_code == 302
    frozen = view_of(tenant)
    assert ([row.rate for row in frozen.taxes], frozen.customer["country"]) == ([19], "DE")


@pytest.mark.django_db(transaction=True)
def test_details_that_change_while_an_invoice_is_finalised_change_customer_and_tax_together(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch, seller: Any
) -> None:
    registered()
    tenant = used(demo_clock, 20_000, country="DE", billing_name="Vision GmbH")
    finance = seller("platform_finance")
    moved = {"billing_name": "Vision SA", "country": "FR", "reason": "They moved"}

    def change() -> int:
        try:
            return int(finance.post(f"/contracts/{tenant.id}/billing-details/", moved).status_code)
        finally:
            connection.close()

    def meanwhile(currency: str, *, make: bool) -> Any:
        with ThreadPoolExecutor(1) as other:
            assert other.submit(change).result(30) == 302
        return lock_wallet(currency, make=make)

    monkeypatch.setattr("billing.invoices.finalising.lock_wallet", meanwhile)
    finalise(tenant)
    view = view_of(tenant)
    assert (view.customer["name"], view.customer["country"], view.taxes[0].rate) == ("Vision SA", "FR", 20)


def test_a_reverse_charge_says_its_sentence_on_pages_and_on_the_document(demo_clock: DemoClock, seller: Any) -> None:
    registered()
    tenant = used(demo_clock, 20_000, country="FR", tax_number="FR40303265045", billing_name="Vision SA")
    finalise(tenant)
    invoice = draft_of(tenant)
    sentence = "Reverse charge: the customer accounts for the tax."
    assert sentence in words(seller("platform_finance").get(f"/invoices/{invoice}/"))
    (text,) = pages(take(tenant, f"{invoice}/pdf/"))
    plain = " ".join(text.split())
    for said in (sentence, "Tax number FR40303265045", "Tax number DE136695976", "0 % €1.00 €0.00"):
        assert said in plain


@pytest.mark.parametrize(
    ("number", "sound"),
    [
        ("FR40303265045", True), ("FR 40 303 265 045", True), ("FR40303265046", False), ("DE123456789", False),
        ("ATU12345675", True), ("ATU12345676", False), ("CHE-107.787.577 IVA", True), ("GB980780684", True),
        ("12/345/67890", True), ("", True), ("US-12", True), ("EL094259216", True), ("EL094259217", False),
    ],
)  # fmt: skip
def test_tax_ids_are_checked_for_the_form_of_their_country(number: str, sound: bool) -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        book = Contract.objects.get().book_id

    def agree() -> None:
        with selling.role("exchequer_operator"):
            contracts.agree(
                operator=selling.SELLER, tenant_id=tenant.id, book_id=book, reason="as agreed",
                starts_on=contracts.months_ahead(tenant, 1)[0], terms=contracts.ContractTerms(tax_number=number),
            )  # fmt: skip

    if sound:
        agree()
    else:
        with pytest.raises(Invalid) as refused:
            agree()
        assert list(refused.value.fields) == ["tax_number"]
