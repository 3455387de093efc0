"""Disputes of the payer's bank: what it keeps is due again, once for each dispute, whatever arrives first or twice."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from billing.dunning.stops import stop_in_force
from billing.invoices import crediting
from billing.mailing.reminding import remind_all
from billing.models import Collection, Payment
from billing.queries.lines import frozen_lines
from billing.queries.owed.statements import statement
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage, PlatformEvent, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.test_events import lived, signed
from tests.integration.billing.collecting.test_top_ups import give_back, topped_up
from tests.integration.billing.collecting.till import Till, credit, pay_by_hand, void
from tests.integration.billing.invoicing.scene import draft_of, finalise
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.billing.wallets.scene import accounts, euro, left
from tests.support import factories, selling

pytestmark = pytest.mark.django_db
BEGUN, LOST, WON = "needs_response", "lost", "won"


def paid_invoice(till: Till) -> tuple[Tenant, UUID, str]:
    """Return an invoice of €3.00 that was paid at the provider, with the id of the payment there."""
    tenant, invoice, events = lived(till)
    for one in events:
        till.post(*signed(till, one))
    till.fake.events.endpoints.clear()
    till.settle(tenant, sweeps=1)
    assert till.seen(tenant, invoice).state == "paid"
    return (
        tenant,
        invoice,
        next(one for one in events if one["type"] == "payment_intent.succeeded")["data"]["object"]["id"],
    )


def dispute(till: Till, payment: str, status: str, *, amount: int = 300, name: str = "dp_1") -> dict[str, Any]:
    one = {"id": name, "object": "dispute", "amount": amount, "currency": "eur", "metadata": {}}
    kind = "created" if status == BEGUN else "closed"
    return till.fake.events.add(f"charge.dispute.{kind}", one | {"payment_intent": payment, "status": status})


def take(till: Till, tenant: Tenant, *events: dict[str, Any]) -> None:
    """Deliver events, each handled before the next arrives."""
    for one in events:
        assert till.post(*signed(till, one)).status_code == 200
        till.sweep(tenant)


def is_shown(tenant: Tenant) -> bool:
    with tenant_scope(tenant.id):
        return Collection.objects.get(step="push").disputed_at is not None


def whole(tenant: Tenant) -> Decimal:
    return sum((one.amount for one in left(tenant)), Decimal(0))


def test_a_lost_dispute_makes_the_invoice_due_again_once_in_any_order(till: Till, seller: Any) -> None:
    tenant, invoice, payment = paid_invoice(till)
    member = client_for(tenant, "finance")
    begun, again, lost, late, won = (dispute(till, payment, it) for it in (BEGUN, BEGUN, LOST, LOST, WON))
    ends = {
        "lost": [(begun, lost), (lost, begun), (begun, again, lost, late, begun, lost)],
        "won": [(begun, won), (won, begun), (begun, lost, won, late), (lost, won, begun, won), (won, lost)],
    }
    with connection.cursor() as cursor:
        for end, orders in ends.items():
            for order in orders:
                cursor.execute("SAVEPOINT before")
                take(till, tenant, *order)
                view = till.seen(tenant, invoice)
                due = euro("3.00") if end == "lost" else euro("0.00")
                assert (view.state, view.due) == ("finalised" if due else "paid", due), order
                assert not is_shown(tenant)
                assert accounts(tenant).get("receivable", Decimal(0)) == due.amount
                cursor.execute("ROLLBACK TO SAVEPOINT before")
    take(till, tenant, begun, lost)
    page = words(seller("platform_finance").get(f"/invoices/{invoice}/"))
    for part in ("Due €3.00", f"Reversal {payment}", f"Payment reversed {payment}"):
        assert part in page, part
    with selling.role("exchequer_operator"):
        types = PlatformEvent.objects.filter(type__startswith="payment.").values_list("type", flat=True)
        assert sorted(types) == ["payment.dispute_lost", "payment.disputed"]
    with tenant_scope(tenant.id):
        assert OutboxMessage.objects.filter(topic="billing.PaymentReversed").count() == 1
    assert "€3.00 of" in words(member.get(f"/t/{tenant.slug}/notifications/"))
    refused = member.post(f"/api/v1/invoices/{invoice}/pay/")
    assert (refused.status_code, refused.json()["code"]) == (409, "paid_at_provider")
    # It is paid by other means; then the bank gives the money back after all, and that returns to the payer.
    pay_by_hand(tenant, invoice, "3.00")
    assert till.seen(tenant, invoice).state == "paid"
    take(till, tenant, won)
    till.settle(tenant, sweeps=2)
    assert (till.seen(tenant, invoice).state, till.seen(tenant, invoice).due) == ("paid", euro("0.00"))
    assert [(it["amount"], it["payment_intent"]) for it in till.fake.store.all("refund")] == [(300, payment)]


def test_each_dispute_of_an_invoice_takes_its_part_and_never_what_went_back_before(till: Till) -> None:
    tenant, invoice, payment = paid_invoice(till)
    begun = [dispute(till, payment, BEGUN, amount=100, name=name) for name in ("dp_1", "dp_2")]
    ended = [dispute(till, payment, LOST, amount=100, name=name) for name in ("dp_1", "dp_2")]
    take(till, tenant, *begun, ended[0])
    assert (till.seen(tenant, invoice).due, is_shown(tenant)) == (euro("1.00"), True)
    take(till, tenant, ended[1])
    assert (till.seen(tenant, invoice).due, is_shown(tenant)) == (euro("2.00"), False)
    # A credit note on all takes off what is due, and returns the rest that the provider still has.
    credit(tenant, invoice)
    till.settle(tenant, sweeps=2)
    assert [one["amount"] for one in till.fake.store.all("refund")] == [100]
    take(till, tenant, dispute(till, payment, LOST, name="dp_3"))
    assert (till.seen(tenant, invoice).state, till.seen(tenant, invoice).due) == ("paid", euro("0.00"))


def test_a_lost_dispute_takes_what_a_credit_note_put_into_the_wallet_until_it_is_won(till: Till) -> None:
    tenant, invoice, payment = paid_invoice(till)
    member = client_for(tenant, "finance")
    with tenant_scope(tenant.id):
        (line,) = frozen_lines({invoice: "EUR"})[invoice]
    with selling.role("exchequer_operator"):
        crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="a node failed",
            parts=[crediting.Part(line.id, Decimal(1))], paid_back="wallet",
        )  # fmt: skip
    assert whole(tenant) == Decimal(1)
    # The bank has all 3.00, so 2.00 are due for what was used, and nothing is left of the rest.
    lost = dispute(till, payment, LOST)
    take(till, tenant, dispute(till, payment, BEGUN), lost, lost)
    assert (till.seen(tenant, invoice).due, whole(tenant)) == (euro("2.00"), Decimal(0))
    assert accounts(tenant) == {"receivable": Decimal(2), "revenue": Decimal(-2)}
    assert "1.00 of credit left the wallet." in words(member.get(f"/t/{tenant.slug}/notifications/"))
    with tenant_scope(tenant.id):
        stated = statement(date(2027, 4, 1), date(2027, 4, 30), "EUR")
    assert (stated.entries[-1].kind, stated.closing) == ("reversal", euro("2.00"))
    take(till, tenant, dispute(till, payment, WON))
    assert (till.seen(tenant, invoice).state, whole(tenant)) == ("paid", Decimal(1))
    assert accounts(tenant) == {"clearing": Decimal(3), "revenue": Decimal(-2), "wallet": Decimal(-1)}


def test_a_lost_top_up_that_was_used_is_a_debt_and_stops_launches(till: Till, seller: Any) -> None:
    tenant, invoice, _ = topped_up(till)
    till.fake.events.endpoints.clear()
    finalise(tenant, draft_of(tenant))
    with tenant_scope(tenant.id):
        payment = Payment.objects.get(method="stripe").external_id
    take(till, tenant, dispute(till, payment, LOST, amount=2000))
    assert till.seen(tenant, invoice).due == euro("3.00")
    console = seller("platform_finance")
    console.prove(factories.PASSWORD)
    named = {"name": "Compute GmbH", "address": "1 Main Street", "reason": "as agreed"}
    assert console.post("/invoices/seller/", named | {"dunning": "3 remind, 30 stop"}).status_code == 302
    for days, stopped in ((40, False), (40, True)):
        till.advance(days=days)
        with selling.role("exchequer_control"):
            remind_all()
        with tenant_scope(tenant.id):
            assert (stop_in_force() is not None) == stopped
    pay_by_hand(tenant, invoice, "3.00")
    with tenant_scope(tenant.id):
        assert stop_in_force() is None


def test_a_lost_top_up_that_was_used_up_is_written_off_when_it_is_voided(till: Till) -> None:
    tenant, invoice, _ = topped_up(till, "3.00")
    till.fake.events.endpoints.clear()
    finalise(tenant, draft_of(tenant))
    with tenant_scope(tenant.id):
        payment = Payment.objects.get(method="stripe").external_id
    take(till, tenant, dispute(till, payment, LOST))
    void(tenant, invoice)
    assert till.seen(tenant, invoice).state == "void"
    assert accounts(tenant) == {"revenue": Decimal(-3), "write_off": Decimal(3)}, "no money is left of it"


def test_what_a_bank_took_out_of_the_wallet_is_not_returned_by_the_same_payment(till: Till, seller: Any) -> None:
    tenant, invoice, _ = topped_up(till, later=500)
    till.fake.events.endpoints.clear()
    with tenant_scope(tenant.id):
        ids = dict(Payment.objects.filter(method="stripe").values_list("amount", "external_id"))
    first, second = ids[Decimal(15)], ids[Decimal(5)]
    take(till, tenant, *(dispute(till, first, status, amount=1500) for status in (BEGUN, LOST)))
    assert (whole(tenant), till.seen(tenant, invoice).state) == (Decimal(5), "paid")
    assert give_back(seller("platform_finance"), invoice).status_code == 201
    till.settle(tenant, sweeps=2)
    with tenant_scope(tenant.id):
        assert Collection.objects.get(step="refund").about == second


def test_two_disputes_of_a_top_up_each_take_and_bring_back_their_own_part(till: Till) -> None:
    tenant, invoice, _ = topped_up(till, later=800)
    till.fake.events.endpoints.clear()
    with tenant_scope(tenant.id):
        ids = dict(Payment.objects.filter(method="stripe").values_list("amount", "external_id"))
    first, second = ids[Decimal(12)], ids[Decimal(8)]
    begun = [
        dispute(till, first, BEGUN, amount=500, name="dp_1"), dispute(till, second, BEGUN, amount=800, name="dp_2"),
    ]  # fmt: skip
    take(till, tenant, *begun, begun[0])
    assert (whole(tenant), is_shown(tenant)) == (Decimal(7), True)
    take(till, tenant, dispute(till, second, WON, amount=800, name="dp_2"))
    assert (whole(tenant), is_shown(tenant)) == (Decimal(15), True)
    take(till, tenant, dispute(till, first, LOST, amount=500, name="dp_1"))
    take(till, tenant, dispute(till, first, LOST, amount=300, name="dp_3"), begun[1])
    assert (whole(tenant), is_shown(tenant)) == (Decimal(12), False)
    assert (accounts(tenant)["wallet"], till.seen(tenant, invoice).state) == (Decimal(-12), "paid")
