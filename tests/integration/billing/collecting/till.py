"""An installation with a payment provider: finalise, let the ops worker sweep, pay at the provider's pages, deliver its events."""

from __future__ import annotations

import http.client
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from django.test import Client

from billing.collecting import sweeping
from billing.invoices import crediting, numbers, paying, voiding
from billing.invoices.posting import post_owed
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import Collection, Invoice, Payment
from billing.money import Money
from billing.queries.invoices import InvoiceView
from billing.queries.invoices import invoice as invoice_view
from billing.rating.calendar import period_bounds
from tenants import clock
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.fakes.stripe.server import API_KEY, WEBHOOK_SECRET, StripeServer
from tests.integration.billing.invoicing.scene import IN_APRIL, MARCH, issued
from tests.support import selling

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.conftest import DemoClock

EVENTS = "/webhooks/stripe"


class Till:
    """What happens on both sides."""

    def __init__(self, fake: StripeServer, settings: Settings, demo_clock: DemoClock) -> None:
        self.fake, self.demo_clock = fake, demo_clock
        given = {"stripe_api_key": API_KEY, "stripe_api_base": fake.url, "stripe_webhook_secret": WEBHOOK_SECRET}
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=given)
        # A long run would else sign its events with a time that is too old for the database.
        fake.clock.run_from(IN_APRIL)
        fake.add_endpoint(f"http://testserver{EVENTS}")
        self.browser = Client()

    def finalised(self, *seconds: int, tax: str | None = None) -> tuple[Tenant, UUID]:
        """Return a tenant with its finalised invoice of March."""
        return issued(self.demo_clock, *(seconds or (60_000,)), tax=tax)

    def top_up(self, tenant: Tenant, amount: str) -> UUID:
        """Return a finalised invoice of an amount, without usage."""
        starts, ends = period_bounds(MARCH, "UTC")
        with selling.role("exchequer_operator"), tenant_scope(tenant.id):
            number = numbers.take(numbers.INVOICES)
            made = Invoice.objects.create(
                period=MARCH, starts_at=starts, ends_at=ends, currency="EUR", kind="top_up", state="finalised",
                series_id=number.series_id, number=number.number, label=number.label, finalised_at=clock.now(),
                due_on=IN_APRIL.date() + timedelta(days=30), subtotal=Decimal(amount), tax=0, total=Decimal(amount),
                content_hash=b"0" * 32, customer={"name": "Acme", "email": "billing@acme.example"},
            )  # fmt: skip
            post_owed(made, Money(Decimal(amount), "EUR"), Money.zero("EUR"))
        return made.pk

    def sweep(self, *tenants: Tenant) -> int:
        """Let the ops worker deliver what waits of these tenants, and sweep once."""
        with selling.role("exchequer_control"):
            for tenant in tenants:
                outbox.drain(tenant.id)
            return sweeping.sweep()

    def settle(self, *tenants: Tenant, sweeps: int = 6, seconds: int = 130) -> None:
        """Sweep several times with time between, and deliver the provider's events."""
        for _ in range(sweeps):
            self.sweep(*tenants)
            self.deliver()
            self.advance(seconds=seconds)
        self.sweep(*tenants)

    def advance(self, **by: float) -> None:
        """Move the time on, here and there."""
        self.demo_clock.advance(timedelta(**by))
        self.fake.clock.advance(timedelta(**by))

    def post(self, body: bytes, signature: str) -> Any:
        """Post an event to the web process."""
        return self.browser.post(EVENTS, body, content_type="application/json", headers={"Stripe-Signature": signature})

    def deliver(self) -> int:
        """Deliver the events that are due; return how many were accepted."""
        return self.fake.events.deliver(lambda _, body, signature: self.post(body, signature).status_code)

    def pay_at(self, url: str, card: str = "pm_card_visa") -> int:
        """Pay on a page of the provider with a card of test mode; return the status."""
        to = urlsplit(url)
        asked = http.client.HTTPConnection(to.hostname or "", to.port, timeout=20)
        asked.request("POST", to.path, f"card={card}", {"Content-Type": "application/x-www-form-urlencoded"})
        status = asked.getresponse().status
        asked.close()
        return status

    def split(self, invoice: UUID, units: int) -> list[str]:
        """Let what was paid at the provider have come in two payments, the later of so many units; return their ids."""
        store = self.fake.store
        (first,) = store.all("invoice_payment", invoice=self.at_provider(invoice)["id"], status="paid")
        later = {"type": "payment_intent", "payment_intent": store.new_id("payment_intent")}
        store.add({**first, "id": store.new_id("invoice_payment"), "amount_paid": units, "payment": later})
        first["amount_paid"] -= units
        return [first["payment"]["payment_intent"], later["payment_intent"]]

    def at_provider(self, invoice: UUID) -> dict[str, Any]:
        """Return the one invoice at the provider with our id."""
        (found,) = [one for one in self.fake.store.all("invoice") if one["metadata"]["our_id"] == str(invoice)]
        return found

    def steps(self, tenant: Tenant) -> list[tuple[str, str]]:
        """Return the steps of a tenant in order, with their states."""
        with tenant_scope(tenant.id):
            return list(Collection.objects.order_by("invoice", "n").values_list("step", "state"))

    def url(self, tenant: Tenant, invoice: UUID) -> str:
        """Return the page at which an invoice is paid."""
        with tenant_scope(tenant.id):
            return Collection.objects.get(invoice=invoice, step="push").url

    def payments(self, tenant: Tenant, **more: Any) -> list[tuple[str, str, Decimal]]:
        """Return what arrived and went back: kind, method, amount, sorted; ids of one millisecond have no order."""
        with tenant_scope(tenant.id):
            return sorted((row.kind, row.method, row.amount.normalize()) for row in Payment.objects.filter(**more))

    def seen(self, tenant: Tenant, invoice: UUID) -> InvoiceView:
        """Return an invoice as its page has it, when all figures agree."""
        with tenant_scope(tenant.id):
            assert [str(fault) for fault in reconcile_faults()] == []
            assert list(ledger_faults()) == []
            return invoice_view(invoice)


def pay_by_hand(tenant: Tenant, invoice: UUID, amount: str) -> None:
    """Record a payment as finance does."""
    received = paying.Received(amount=Decimal(amount), received_on=IN_APRIL.date())
    with selling.role("exchequer_operator"):
        paying.mark_paid(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, received=received)


def reverse_by_hand(tenant: Tenant, invoice: UUID) -> None:
    """Reverse the payment that was recorded last, as finance does."""
    with tenant_scope(tenant.id):
        payment = Payment.objects.filter(invoice=invoice, kind="payment").latest("recorded_at", "id").pk
    with selling.role("exchequer_operator"):
        paying.reverse(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, payment_id=payment, reason="it never came"
        )


def credit(tenant: Tenant, invoice: UUID, *parts: crediting.Part) -> UUID:
    """Issue a credit note as finance does; what was paid goes back to the payer."""
    with selling.role("exchequer_operator"):
        return crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, parts=parts, reason="a node failed"
        )


def void(tenant: Tenant, invoice: UUID) -> None:
    """Void an invoice as finance does."""
    with selling.role("exchequer_operator"):
        voiding.void(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="a wrong address", reissue=False
        )
