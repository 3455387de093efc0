"""What billing asks of a payment provider, as a protocol; requests and answers are in `requests`. Pure.

Exchequer rates and totals; a provider only collects. Each method may be called again with the same arguments until it
returns or is refused: it has one effect. Call it with no transaction open, and handle the errors of `errors`:

- `OutcomeUnknown`: call again later with the same arguments.
- `Later`: call again after `after_s` seconds.
- `Declined`: the payer must act; the next try takes a higher `attempt`.
- `GatewayRefused`: no repetition helps; a person must look.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

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


class PaymentGateway(Protocol):
    """A payment provider. External ids are its own ids of objects."""

    @property
    def name(self) -> str:
        """The provider: `stripe` or `manual`."""
        ...

    @property
    def collects(self) -> bool:
        """Whether money moves through it; otherwise people enter payments by hand."""
        ...

    def ensure_customer(self, payer: Payer, timing: Timing) -> str:
        """Return the external id of the tenant's customer, created if missing."""
        ...

    def push_invoice(self, draft: Draft, timing: Timing) -> Pushed:
        """Create the invoice with its lines, check the provider's total against ours, and finalise it there."""
        ...

    def send_invoice(self, invoice: InvoiceRef, timing: Timing) -> None:
        """Let the provider send the invoice by email."""
        ...

    def pay(self, invoice: InvoiceRef, method: str, attempt: int, timing: Timing) -> InvoiceState:
        """Charge a payment method for the whole invoice; `attempt` counts from 1 and rises after `Declined`."""
        ...

    def mark_paid(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Record that the invoice was paid outside the provider."""
        ...

    def void(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Cancel an unpaid invoice; a draft is deleted."""
        ...

    def write_off(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Record that nobody expects the payment; it may still arrive."""
        ...

    def credit_note(self, note: CreditNote, timing: Timing) -> str:
        """Credit a finalised invoice; return the external id."""
        ...

    def refund(self, refund: Refund, timing: Timing) -> str:
        """Return part of a payment to the payer; return the external id."""
        ...

    def charge(self, charge: Charge, timing: Timing) -> Payment:
        """Charge a saved payment method without the payer, as an automatic top-up does."""
        ...

    def checkout(self, request: CheckoutRequest, timing: Timing) -> CheckoutPage:
        """Create a page where a person pays, or saves a payment method."""
        ...

    def expire_checkout(self, external_id: str) -> None:
        """Close a page, so that nobody can pay there; nothing happens if it is complete or expired."""
        ...

    def payments(self, invoice: InvoiceRef) -> tuple[Payment, ...]:
        """Return the successful payments of an invoice."""
        ...

    def payment_methods(self, customer: str) -> tuple[PaymentMethod, ...]:
        """Return the saved payment methods of a customer."""
        ...

    def set_default_method(self, customer: str, method: str) -> None:
        """Choose the payment method for invoices."""
        ...

    def remove_method(self, method: str) -> None:
        """Remove a saved payment method."""
        ...

    def read_back(self, lookup: Lookup) -> Found | None:
        """Find an object by our id, as the provider has it at present."""
        ...

    def event(self, body: bytes, signature: str, now: datetime) -> PaymentEvent:
        """Verify a webhook and return its event. Raises `WebhookRefused`. `body` is exactly as received."""
        ...
