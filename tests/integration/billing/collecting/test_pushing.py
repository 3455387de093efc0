"""A finalised invoice reaches the payment provider once, is paid there, and money goes back through it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from billing.collecting import retrying
from billing.invoices.crediting import Part
from billing.models import InvoiceLine
from tenants.errors import ExchequerError
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.till import Till, credit, pay_by_hand, reverse_by_hand, void
from tests.support import selling

pytestmark = pytest.mark.django_db


def line_of(tenant: Tenant, invoice: UUID) -> UUID:
    with tenant_scope(tenant.id):
        return InvoiceLine.objects.filter(invoice=invoice).values_list("id", flat=True).get()


def paid_there(till: Till, *seconds: int) -> tuple[Tenant, UUID]:
    """Return a tenant with an invoice that was paid at the provider."""
    tenant, invoice = till.finalised(*seconds)
    till.sweep(tenant)
    assert till.pay_at(till.url(tenant, invoice)) == 303
    till.settle(tenant, sweeps=2)
    assert till.seen(tenant, invoice).state == "paid"
    return tenant, invoice


def test_a_finalised_invoice_is_pushed_paid_at_its_page_and_settled_once(till: Till) -> None:
    tenant, invoice = till.finalised(60_000, 30_000, tax="19")
    assert till.steps(tenant) == []
    till.sweep(tenant)
    there = till.at_provider(invoice)
    assert (there["status"], there["total"], there["number"]) == ("open", 536, "INV-000001")
    assert [line["amount"] for line in there["lines"]["data"]] == [300, 150, 86]
    member = client_for(tenant, "finance")
    answer = member.post(f"/api/v1/invoices/{invoice}/pay/")
    assert (answer.status_code, answer.json()) == (200, {"url": there["hosted_invoice_url"]})
    assert there["hosted_invoice_url"] in member.get(f"/t/{tenant.slug}/invoices/{invoice}/").content.decode()
    assert till.pay_at(answer.json()["url"]) == 303
    # The event, its repetition and the reading by time amount to one payment.
    till.fake.events.doubled = 1.0
    till.settle(tenant, sweeps=3, seconds=4000)
    view = till.seen(tenant, invoice)
    assert (view.state, view.due.minor) == ("paid", 0)
    assert till.payments(tenant) == [("payment", "stripe", Decimal("5.36"))]
    assert till.steps(tenant) == [("push", "done")]
    refused = member.post(f"/api/v1/invoices/{invoice}/pay/")
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_payable")


def test_without_an_event_the_payment_is_read_back(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    till.pay_at(till.url(tenant, invoice))
    till.sweep(tenant)
    till.advance(hours=2)
    till.sweep(tenant)
    assert till.seen(tenant, invoice).state == "paid"


def test_what_is_paid_by_hand_lowers_what_can_be_paid_there(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    pay_by_hand(tenant, invoice, "1.00")
    till.sweep(tenant)
    assert till.at_provider(invoice)["amount_remaining"] == 200
    pay_by_hand(tenant, invoice, "2.00")
    till.settle(tenant)
    assert till.at_provider(invoice)["status"] == "paid"
    assert till.seen(tenant, invoice).state == "paid"
    assert till.payments(tenant, method="stripe") == []
    assert till.steps(tenant) == [("push", "done"), ("paid_outside", "done"), ("paid_outside", "done")]


def test_b80_what_the_provider_counts_is_not_paid_there_again(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    pay_by_hand(tenant, invoice, "1.00")
    reverse_by_hand(tenant, invoice)
    till.settle(tenant, sweeps=2)
    assert till.at_provider(invoice)["amount_remaining"] == 300, "what is reversed at once is not recorded there"
    pay_by_hand(tenant, invoice, "3.00")
    till.settle(tenant)
    assert till.at_provider(invoice)["status"] == "paid"
    reverse_by_hand(tenant, invoice)
    till.settle(tenant, sweeps=2)
    view = till.seen(tenant, invoice)
    assert (view.state, view.due) == ("finalised", view.total)
    member = client_for(tenant, "finance")
    answer = member.post(f"/api/v1/invoices/{invoice}/pay/")
    assert (answer.status_code, answer.json()["code"]) == (409, "paid_at_provider")
    assert till.url(tenant, invoice) not in member.get(f"/t/{tenant.slug}/invoices/{invoice}/").content.decode()


def test_a_credit_note_lowers_what_can_be_paid_there_and_a_void_closes_it(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    credit(tenant, invoice, Part(line_of(tenant, invoice), Decimal("0.50")))
    till.sweep(tenant)
    assert till.at_provider(invoice)["amount_remaining"] == 250
    other, second = till.finalised()
    till.sweep(other)
    void(other, second)
    till.sweep(other)
    assert till.at_provider(second)["status"] == "void"
    assert till.steps(other) == [("push", "done"), ("void", "done")]


def test_money_that_came_through_the_provider_goes_back_through_it(till: Till) -> None:
    tenant, invoice = paid_there(till)
    credit(tenant, invoice, Part(line_of(tenant, invoice), Decimal("0.50")))
    till.settle(tenant, sweeps=2)
    (refund,) = till.fake.store.all("refund")
    assert refund["amount"] == 50
    assert till.payments(tenant, kind="refund") == [("refund", "stripe", Decimal("0.5"))]
    assert till.seen(tenant, invoice).state == "paid"


def test_only_what_came_through_the_provider_goes_back_through_it(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    pay_by_hand(tenant, invoice, "1.00")
    till.sweep(tenant)
    till.pay_at(till.url(tenant, invoice))
    till.settle(tenant, sweeps=2)
    credit(tenant, invoice)
    till.settle(tenant, sweeps=2)
    back = till.payments(tenant, kind="refund")
    assert back == [("refund", "manual", Decimal(1)), ("refund", "stripe", Decimal(2))]
    assert [refund["amount"] for refund in till.fake.store.all("refund")] == [200]
    till.seen(tenant, invoice)


def test_what_is_paid_twice_goes_back(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    pay_by_hand(tenant, invoice, "3.00")
    till.pay_at(till.url(tenant, invoice))
    till.settle(tenant)
    assert till.seen(tenant, invoice).state == "paid"
    assert till.payments(tenant) == [
        ("payment", "manual", Decimal(3)), ("payment", "stripe", Decimal(3)), ("refund", "stripe", Decimal(3)),
    ]  # fmt: skip
    assert [refund["amount"] for refund in till.fake.store.all("refund")] == [300]


def test_what_is_paid_for_a_void_invoice_goes_back(till: Till) -> None:
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    till.pay_at(till.url(tenant, invoice))
    void(tenant, invoice)
    till.settle(tenant)
    view = till.seen(tenant, invoice)
    assert (view.state, view.due.minor) == ("void", 0)
    assert [refund["amount"] for refund in till.fake.store.all("refund")] == [300]


@pytest.mark.django_db(transaction=True)
def test_b12_of_ten_refunds_by_the_gateway_at_once_three_succeed(till: Till) -> None:
    tenant, invoice = paid_there(till)
    line = line_of(tenant, invoice)

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
    till.settle(tenant, sweeps=2)
    assert [refund["amount"] for refund in till.fake.store.all("refund")] == [90, 90, 90]
    assert till.seen(tenant, invoice).due.minor == 0


def test_a_refund_that_the_bank_refuses_waits_for_a_person_and_is_repeated_as_another(till: Till) -> None:
    tenant, invoice = paid_there(till)
    credit(tenant, invoice)
    till.settle(tenant, sweeps=2)
    (refund,) = till.fake.store.all("refund")
    refund["status"] = "failed"
    till.fake.events.add("refund.failed", refund)
    till.settle(tenant, sweeps=2)
    assert till.steps(tenant) == [("push", "done"), ("refund", "failed")]
    charge = till.fake.store.get("charge", refund["charge"])
    charge.update(amount_refunded=0, refunded=False)
    with selling.role("exchequer_operator"):
        retrying.retry(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice)
    till.settle(tenant, sweeps=2)
    assert till.steps(tenant) == [("push", "done"), ("refund", "done")]
    assert len(till.fake.store.all("refund")) == 2


def test_a_step_that_the_provider_refuses_is_shown_in_the_console_with_a_retry(till: Till, seller: Any) -> None:
    tenant, invoice = till.finalised()
    till.fake.store.livemode = True  # the key is refused
    till.settle(tenant, sweeps=1)
    assert till.steps(tenant) == [("push", "failed")]
    console = seller("platform_finance")
    page = console.get(f"/invoices/{invoice}/").content.decode()
    assert "Push the invoice" in page
    assert "Try again" in page
    till.fake.store.livemode = False
    assert console.post(f"/invoices/{invoice}/collect/").status_code == 302
    till.settle(tenant, sweeps=1)
    assert till.steps(tenant) == [("push", "done")]
    assert console.post(f"/invoices/{invoice}/collect/").status_code == 422


@pytest.mark.parametrize("path", ["POST /v1/invoices", "/finalize"])
def test_a_refusal_that_the_provider_keeps_is_not_repeated_by_a_retry(till: Till, seller: Any, path: str) -> None:
    """The same key would get the same refusal for a day; what took effect before it is found, and not made again."""
    tenant, invoice = till.finalised(60_000, 30_000)
    till.fake.faults.next("refused", path=path)
    till.settle(tenant, sweeps=1)
    assert till.steps(tenant) == [("push", "failed")]
    console = seller("platform_finance")
    assert console.post(f"/invoices/{invoice}/collect/").status_code == 302
    till.settle(tenant, sweeps=1)
    assert till.steps(tenant) == [("push", "done")]
    assert till.at_provider(invoice)["status"] == "open"
    assert till.at_provider(invoice)["total"] == 450
    assert till.pay_at(till.url(tenant, invoice)) == 303
    till.settle(tenant, sweeps=2)
    assert till.seen(tenant, invoice).state == "paid"


def test_without_a_provider_nothing_is_ordered_and_payments_are_by_hand(till: Till, settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"stripe_api_key": ""})
    tenant, invoice = till.finalised()
    till.settle(tenant, sweeps=1)
    assert till.steps(tenant) == []
    refused = client_for(tenant, "finance").post(f"/api/v1/invoices/{invoice}/pay/")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_payment_provider")
    pay_by_hand(tenant, invoice, "3.00")
    assert till.seen(tenant, invoice).state == "paid"
