"""What follows an invoice: payments, credit notes that split the tax, a void and the invoice in its place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from billing import queries
from billing.invoices import crediting, paying, voiding
from billing.invoices.crediting import Part
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, LedgerPosting, Payment
from billing.money import Money
from billing.queries.invoices import InvoiceView
from billing.rating.tax import tax_of_part
from billing.subscribers import invoice_fact
from tenants.errors import ExchequerError, Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator, OperatorLacks
from tests.integration.billing.invoicing.scene import IN_APRIL, draft_of, finalise, issued
from tests.support import selling

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
SUPPORT = Operator(id=UUID(int=8), label="support@platform.example", roles=("platform_support",))
TODAY = IN_APRIL.date()
#: Two lines of 5.00 and 10.00 at 0.00005 a second, with 19 % tax: 17.85.
SECONDS = (100_000 // 2, 100_000 // 2, 100_000 // 2, 100_000 // 2)


def euro(text: str) -> Money:
    return Money(Decimal(text), "EUR")


def pay(tenant: Tenant, invoice: UUID, amount: str, **more: str) -> None:
    received = paying.Received(amount=Decimal(amount), received_on=TODAY, **more)
    with selling.role("exchequer_operator"):
        paying.mark_paid(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, received=received)


def credit(tenant: Tenant, invoice: UUID, *parts: Part, paid_back: crediting.PaidBack = "refund") -> UUID:
    with selling.role("exchequer_operator"):
        return crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, parts=parts, reason="a node failed",
            paid_back=paid_back,
        )  # fmt: skip


def void(tenant: Tenant, invoice: UUID, *, reissue: bool = False) -> UUID | None:
    with selling.role("exchequer_operator"):
        return voiding.void(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="a wrong address", reissue=reissue
        )


def seen(tenant: Tenant, invoice: UUID) -> InvoiceView:
    with tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []
        return queries.invoice(invoice)


def accounts(tenant: Tenant) -> dict[str, Decimal]:
    with tenant_scope(tenant.id):
        found: dict[str, Decimal] = {}
        for row in LedgerPosting.objects.filter(pot_kind__in=["invoice", "tenant", "wallet"]):
            found[row.account] = found.get(row.account, Decimal(0)) + row.amount
        return {name: amount for name, amount in found.items() if amount}


def lines_of(tenant: Tenant, invoice: UUID) -> list[UUID]:
    with tenant_scope(tenant.id):
        return list(InvoiceLine.objects.filter(invoice=invoice).order_by("n").values_list("id", flat=True))


def test_payments_in_parts_settle_an_invoice(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000, tax="19")
    assert seen(tenant, invoice).total == euro("3.57")
    pay(tenant, invoice, "1.57", reference="transfer 1")
    view = seen(tenant, invoice)
    assert (view.state, view.paid, view.due) == ("finalised", euro("1.57"), euro("2.00"))
    with pytest.raises(Invalid) as refused:
        pay(tenant, invoice, "2.01")
    assert refused.value.fields == {"amount": ["€2.00 is due: record no more than that."]}
    pay(tenant, invoice, "2.00")
    view = seen(tenant, invoice)
    assert (view.state, view.status, view.due) == ("paid", "paid", euro("0.00"))
    assert accounts(tenant) == {"revenue": Decimal(-3), "tax": Decimal("-0.57"), "clearing": Decimal("3.57")}


def test_a_payment_of_the_gateway_counts_once(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    for _ in range(3):
        pay(tenant, invoice, "1.00", method="stripe", external_id="pi_1")
    assert seen(tenant, invoice).paid == euro("1.00")


def test_b12_a_credit_note_of_one_line_takes_its_tax_along_and_comes_off_what_is_due(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000, 30_000, tax="19")
    first, second = lines_of(tenant, invoice)
    credit(tenant, invoice, Part(first, Decimal("1.00")))
    view = seen(tenant, invoice)
    assert (view.credited, view.due, view.state) == (euro("1.19"), euro("4.17"), "finalised")
    with pytest.raises(Invalid) as refused:
        credit(tenant, invoice, Part(first, Decimal("2.01")), Part(second, Decimal("0.001")), Part(uuid4(), Decimal(1)))
    assert len(refused.value.fields["lines"]) == 3
    credit(tenant, invoice)
    view = seen(tenant, invoice)
    assert (view.credited, view.due, view.state) == (view.total, euro("0.00"), "paid")
    with tenant_scope(tenant.id):
        assert [note.label for note in CreditNote.objects.order_by("number")] == ["CN-000001", "CN-000002"]
        per_line: dict[UUID, Decimal] = {}
        for part in CreditNoteLine.objects.all():
            per_line[part.line_id] = per_line.get(part.line_id, Decimal(0)) + part.tax
        assert per_line == {line.pk: line.tax for line in InvoiceLine.objects.all()}
    assert accounts(tenant) == {}
    with pytest.raises(Invalid, match="Nothing is left"):
        credit(tenant, invoice)


@pytest.mark.parametrize(("paid_back", "account"), [("refund", "clearing"), ("wallet", "wallet")])
def test_f5_what_was_paid_goes_back_to_the_payer_or_into_the_wallet(
    demo_clock: DemoClock, paid_back: crediting.PaidBack, account: str
) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    pay(tenant, invoice, "3.00")
    credit(tenant, invoice, Part(lines_of(tenant, invoice)[0], Decimal("0.50")), paid_back=paid_back)
    view = seen(tenant, invoice)
    assert (view.state, view.due, view.credited) == ("paid", euro("0.00"), euro("0.50"))
    left = {"revenue": Decimal("-2.50"), "clearing": Decimal("3.00")}
    left[account] = left.get(account, Decimal(0)) - Decimal("0.50")
    assert accounts(tenant) == left
    with tenant_scope(tenant.id):
        assert Payment.objects.filter(kind="refund").count() == (paid_back == "refund")


@pytest.mark.django_db(transaction=True)
def test_b12_of_ten_refunds_of_thirty_per_cent_at_once_three_succeed(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    pay(tenant, invoice, "3.00")
    (line,) = lines_of(tenant, invoice)

    def work(_: int) -> bool:
        try:
            credit(tenant, invoice, Part(line, Decimal("0.90")))
        except ExchequerError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(work, range(10))) == 3
    view = seen(tenant, invoice)
    assert (view.credited, view.due) == (euro("2.70"), euro("0.00"))


def test_a_void_invoice_owes_nothing_and_another_takes_its_place(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000, tax="19")
    made = void(tenant, invoice, reissue=True)
    view = seen(tenant, invoice)
    assert (view.state, view.number, view.due, view.void_reason) == ("void", "INV-000001", euro("0"), "a wrong address")
    assert accounts(tenant) == {}
    assert made == draft_of(tenant)
    assert finalise(tenant) == "INV-000002"
    again = seen(tenant, made or uuid4())
    assert (again.total, again.replaces_id) == (view.total, invoice)
    with pytest.raises(voiding.CannotVoid):
        void(tenant, invoice)
    pay(tenant, again.id or uuid4(), "1.00")
    with pytest.raises(voiding.CannotVoid):
        void(tenant, again.id or uuid4())


def test_a_draft_takes_no_payment_and_no_credit_and_support_writes_nothing(demo_clock: DemoClock) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    draft = void(tenant, invoice, reissue=True)
    assert draft is not None
    for act in (lambda: pay(tenant, draft, "1.00"), lambda: credit(tenant, draft), lambda: void(tenant, draft)):
        with pytest.raises(ExchequerError) as refused:
            act()
        assert refused.value.status == 409
    received = paying.Received(amount=Decimal(1), received_on=date(2027, 4, 1))
    with selling.role("exchequer_operator"), pytest.raises(OperatorLacks):
        paying.mark_paid(operator=SUPPORT, tenant_id=tenant.id, invoice_id=invoice, received=received)
    with tenant_scope(tenant.id):
        assert Invoice.objects.get(pk=draft).state == "draft"
        assert queries.invoice(draft).due == euro("3.00")


def test_webhooks_name_the_page_of_the_invoice() -> None:
    invoice = uuid4()
    fact = invoice_fact("invoice.paid", invoice, number="INV-000001", due=Decimal("2.00"))
    assert reverse("invoice-of", args=["vision", invoice]) == f"/t/vision/{fact.path}"
    assert fact.data == {"number": "INV-000001", "due": "2.00"}


@given(
    amount=st.integers(1, 10**7),
    rate=st.decimals(0, 27, places=1),
    cuts=st.lists(st.integers(1, 10**7), max_size=6),
)
def test_b12_the_tax_of_parts_never_exceeds_that_of_the_whole(amount: int, rate: Decimal, cuts: list[int]) -> None:
    whole = Money(Decimal(amount).scaleb(-2), "EUR")
    tax = (whole * (rate / 100)).rounded()
    taken = euro("0")
    for cut in sorted({min(cut, amount) for cut in [*cuts, amount]}):
        part = tax_of_part(tax, whole, Money(Decimal(cut).scaleb(-2), "EUR"))
        assert taken <= part <= tax
        taken = part
    assert taken == tax
