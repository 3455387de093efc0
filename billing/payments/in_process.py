"""The gateway of an installation without a payment provider: people pay by transfer, and finance enters payments by hand."""

from __future__ import annotations

from datetime import datetime

from billing.payments.errors import GatewayRefused, WebhookRefused
from billing.payments.events import PaymentEvent
from billing.payments.requests import (
    Charge,
    CheckoutPage,
    CheckoutRequest,
    CreditNote,
    Draft,
    Found,
    InvoiceRef,
    InvoiceState,
    Lookup,
    Payer,
    Payment,
    PaymentMethod,
    Pushed,
    Refund,
    Timing,
)

NOT_HERE = "No payment provider is set up. Pay by transfer; finance then marks the invoice as paid."


class InProcessGateway:
    """A gateway that calls nobody and stores nothing: our own rows are the record. External ids are `manual:` and ours."""

    name = "manual"
    collects = False

    def ensure_customer(self, payer: Payer, timing: Timing) -> str:
        """Return the id of the tenant's customer."""
        return f"manual:{payer.tenant_id}"

    def push_invoice(self, draft: Draft, timing: Timing) -> Pushed:
        """Return the invoice as open; it has no page to pay at. Raises `GatewayRefused` if its total is negative."""
        if draft.total.minor < 0:
            raise GatewayRefused("An invoice below zero is not collected: credit the amount.", reason="negative")
        return Pushed(f"manual:{draft.our_id}", "", draft.total, "open" if draft.total else "paid")

    def send_invoice(self, invoice: InvoiceRef, timing: Timing) -> None:
        """Do nothing: our own email announces an invoice."""

    def pay(self, invoice: InvoiceRef, method: str, attempt: int, timing: Timing) -> InvoiceState:
        """Raise `GatewayRefused`: there is no payment method."""
        raise GatewayRefused(NOT_HERE, reason="no_provider")

    def mark_paid(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Return `paid`."""
        return "paid"

    def void(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Return `void`."""
        return "void"

    def write_off(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Return `uncollectible`."""
        return "uncollectible"

    def credit_note(self, note: CreditNote, timing: Timing) -> str:
        """Return the id of the credit note."""
        return f"manual:{note.our_id}"

    def refund(self, refund: Refund, timing: Timing) -> str:
        """Return the id of the refund, which finance transfers."""
        return f"manual:{refund.our_id}"

    def charge(self, charge: Charge, timing: Timing) -> Payment:
        """Raise `GatewayRefused`: there is no payment method."""
        raise GatewayRefused(NOT_HERE, reason="no_provider")

    def checkout(self, request: CheckoutRequest, timing: Timing) -> CheckoutPage:
        """Raise `GatewayRefused`: there is no page to pay at."""
        raise GatewayRefused(NOT_HERE, reason="no_provider")

    def expire_checkout(self, external_id: str) -> None:
        """Do nothing: there are no pages."""

    def payments(self, invoice: InvoiceRef) -> tuple[Payment, ...]:
        """Return nothing: our own rows hold the payments."""
        return ()

    def payment_methods(self, customer: str) -> tuple[PaymentMethod, ...]:
        """Return nothing."""
        return ()

    def set_default_method(self, customer: str, method: str) -> None:
        """Raise `GatewayRefused`: there is no payment method."""
        raise GatewayRefused(NOT_HERE, reason="no_provider")

    def remove_method(self, method: str) -> None:
        """Raise `GatewayRefused`: there is no payment method."""
        raise GatewayRefused(NOT_HERE, reason="no_provider")

    def read_back(self, lookup: Lookup) -> Found | None:
        """Return None: nothing is stored outside our own rows."""
        return None

    def event(self, body: bytes, signature: str, now: datetime) -> PaymentEvent:
        """Raise `WebhookRefused`: nobody sends events."""
        raise WebhookRefused("no_provider")
