"""Terms of a contract on its invoices: models, commitments, discounts and tax, live on the draft and frozen with it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing import queries
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import Contract, InvoiceLine
from billing.money import Money
from billing.pricing import contracts
from billing.queries.invoices import InvoiceView
from billing.queries.lines import InvoiceLine as Line
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.scene import IN_MARCH, draft_of, finalise, name_the_seller, used
from tests.support import selling
from tests.support.billing.rerater import Rerated
from tests.support.factories import make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
TIERS = [
    {"up_to": "50000", "unit_amount": "0.00005"},
    {"up_to": None, "unit_amount": "0.00002"},
]
GRADUATED = {"key": "bulk", "meter": "device_seconds", "dims": {}, "model": "graduated", "tiers": TIERS}
TERMS: dict[str, Any] = {
    "models": [GRADUATED],
    "commitments": [{"key": "yearly", "amount": "5.00"}],
    "discounts": [{"key": "friend", "percent": "10"}],
}
SECONDS = (40_000, 33_333, 7)


def read(tenant: Tenant, invoice: UUID) -> tuple[InvoiceView, list[Line]]:
    with tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []
        return queries.invoice(invoice), queries.invoice_lines(invoice)


def rerated(view: InvoiceView, lines: list[Line], terms: dict[str, Any], tax: str | None) -> Rerated:
    """Return the same bill by a program that shares no code with the product, from the usage lines alone."""
    usage = [
        {
            "key": str(line.id), "project": str(line.project_id), "meter": line.meter, "price": str(line.price_id),
            "quantity": str(line.quantity), "amount": str(line.exact.amount), "origin": line.origin and str(line.origin),
        }
        for line in lines
        if line.kind in ("usage", "correction")
    ]  # fmt: skip
    models = [
        {**one, "prices": [line["price"] for line in usage], "tiers": [{"flat_amount": "0", **t} for t in one["tiers"]]}
        for one in terms.get("models", [])
    ]
    table = [{"country": "DE", "percent": tax, "product": "standard", "starts_on": "2000-01-01", "ends_on": None}]
    taxed = {"seller": "DE", "buyer": "DE", "tax_id": None, "exempt": False, "products": {}, "rates": table}
    return Rerated(
        {
            "usage": usage, "terms": {**terms, "models": models, "currency": view.currency}, "credits": [],
            "tax": taxed if tax else None, "at": "2027-03-31",
        }
    )  # fmt: skip


def test_b18_an_invoice_of_all_terms_equals_what_another_program_makes_of_its_usage(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, *SECONDS, terms=TERMS, tax_rate=Decimal(19))
    invoice = draft_of(tenant)
    draft, lines = read(tenant, invoice)
    assert [line.kind for line in lines] == [
        "usage", "usage", "usage", "price_model", "price_model", "commitment_shortfall", "discount", "discount",
    ]  # fmt: skip
    # 50,000 s at 0.00005 and 23,340 s at 0.00002: 2.9668; 5.00 committed; 10 % off usage; 19 % tax.
    assert draft.subtotal == Money(Decimal("4.70"), "EUR")
    assert draft.total == Money(Decimal("5.59"), "EUR")
    finalise(tenant)
    view, frozen = read(tenant, invoice)
    assert [(one.id, one.kind, one.amount, one.details) for one in frozen] == [
        (one.id, one.kind, one.amount, one.details) for one in lines
    ]
    assert (view.subtotal, view.tax, view.total) == (draft.subtotal, draft.tax, draft.total)
    other = rerated(view, frozen, TERMS, "19")
    assert (other.subtotal, other.total) == (view.subtotal.minor, view.total.minor)
    with tenant_scope(tenant.id):
        assert sum(line.tax for line in InvoiceLine.objects.all()) == view.tax.amount


def test_a_draft_follows_its_usage_and_terms(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 40_000, terms={"models": [GRADUATED]})
    view, lines = read(tenant, draft_of(tenant))
    assert (view.total, len(lines)) == (Money(Decimal("2.00"), "EUR"), 1)
    with tenant_scope(tenant.id):
        project = lines[0].project_id
        assert project is not None
        record_usage([interval(project, IN_MARCH, 20_000)])
    view, lines = read(tenant, draft_of(tenant))
    # 60,000 s: 2.50 and 10,000 at 0.00002.
    assert view.total == Money(Decimal("2.70"), "EUR")
    assert [line.kind for line in lines] == ["usage", "price_model"]


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        ({"models": [{**GRADUATED, "tiers": TIERS[:1]}]}, "models.0"),
        ({"models": [{**GRADUATED, "model": "secret"}]}, "Choose terms.models.0.model"),
        ({"discounts": [{"key": "friend", "percent": "101"}]}, "discounts.0"),
        ({"discounts": [{"key": "friend", "percent": 10}]}, "in quotes"),
        ({"minimums": [{"key": "least", "amount": "-1"}]}, "minimums.0"),
        ({"hours": 720}, "Leave the hours out"),
        ({"currency": "USD"}, "leave the currency out"),
        ({"owner": "me"}, "Leave owner out"),
        (["discounts"], "Write an object"),
    ],
)
def test_terms_that_cannot_be_billed_are_refused_with_what_to_do(terms: dict[str, Any], named: str) -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        book = Contract.objects.get().book_id
    starts_on = contracts.months_ahead(tenant, 1)[0]
    with selling.role("exchequer_operator"), pytest.raises(Invalid) as refused:
        contracts.agree(
            operator=selling.SELLER, tenant_id=tenant.id, book_id=book, starts_on=starts_on, reason="as agreed",
            terms=contracts.ContractTerms(terms=terms),
        )  # fmt: skip
    assert named in " ".join(refused.value.fields["terms"])


def test_the_next_contract_bills_by_its_own_terms(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 40_000)
    view, lines = read(tenant, draft_of(tenant))
    assert [line.kind for line in lines] == ["usage"]
    agreed = contracts.ContractTerms(terms={"minimums": [{"key": "least", "amount": "9.00"}]}, country="DE")
    with tenant_scope(tenant.id):
        book = Contract.objects.get().book_id
    with selling.role("exchequer_operator"):
        made = contracts.agree(
            operator=selling.SELLER, tenant_id=tenant.id, book_id=book, terms=agreed, reason="as agreed",
            starts_on=contracts.months_ahead(tenant, 1)[0],
        )  # fmt: skip
    assert (made.terms, made.country) == (agreed.terms, "DE")
    assert read(tenant, draft_of(tenant)) == (view, lines)
