"""The stand-in for Stripe, and a gateway that talks to it through the real library."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from billing.payments.requests import Draft, InvoiceRef, Line, Payer, Pushed, Timing
from billing.payments.stripe_gateway import Account, StripeGateway
from tests.fakes.stripe import StripeServer, stripe_server
from tests.fakes.stripe.server import API_KEY, WEBHOOK_SECRET

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT = UUID("018f0000-0000-7000-8000-000000000001")


class World:
    """A gateway with the stand-in behind it, and the time of both."""

    def __init__(self, fake: StripeServer) -> None:
        self.fake = fake
        self.gateway = StripeGateway(Account(API_KEY, fake.url, (WEBHOOK_SECRET,), timeout=(5, 5)))
        self.now = START

    def timing(self, first_at: datetime = START) -> Timing:
        """Return the timing of an object whose first call was then."""
        return Timing(first_at, self.now)

    def advance(self, **by: float) -> None:
        """Move the time on, here and there."""
        self.now += timedelta(**by)
        self.fake.clock.advance(timedelta(**by))

    def customer(self, tenant_id: UUID = TENANT) -> str:
        """Return the customer of a tenant."""
        return self.gateway.ensure_customer(Payer(tenant_id, "Acme", f"{tenant_id}@acme.example"), self.timing())

    def draft(self, our_id: str = "invoice-1", *amounts: int, customer: str = "", currency: str = "EUR") -> Draft:
        """Return an invoice of ours."""
        lines = tuple(Line(f"{our_id}-{at}", f"Line {at}", amount) for at, amount in enumerate(amounts or (1234, -34)))
        return Draft(our_id, TENANT, customer or self.customer(), currency, f"EX-{our_id}", 30, lines)

    def push(self, our_id: str = "invoice-1", *amounts: int) -> tuple[Pushed, InvoiceRef]:
        """Push an invoice."""
        pushed = self.gateway.push_invoice(self.draft(our_id, *amounts), self.timing())
        return pushed, InvoiceRef(our_id, TENANT, pushed.external_id)

    def card(self, customer: str, name: str = "pm_card_visa") -> str:
        """Save a card of test mode for a customer."""
        return self.gateway._stripe.v1.payment_methods.attach(name, {"customer": customer}).id


@pytest.fixture
def fake() -> Iterator[StripeServer]:
    """A stand-in of its own for each test; its clock stands still."""
    with stripe_server(START) as server:
        yield server


@pytest.fixture
def world(fake: StripeServer) -> World:
    """A gateway to it."""
    return World(fake)
