"""Invoices at Stripe: created with our lines, finalised, paid, credited. Stripe computes nothing that we did not send."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import stripe
from stripe import RequestOptions

from billing.money import Money
from billing.payments.attempts import windows_passed
from billing.payments.errors import GatewayRefused
from billing.payments.requests import (
    CreditNote,
    Draft,
    InvoiceRef,
    InvoiceState,
    Payment,
    Pushed,
    Timing,
    from_minor,
)
from billing.payments.stripe_parts.amounts import from_stripe, to_stripe
from billing.payments.stripe_parts.calls import PAGE, Calls, key, since
from billing.payments.stripe_parts.client import given, id_of, ours
from billing.payments.stripe_parts.forms import new_credit_note, new_invoice, new_item

if TYPE_CHECKING:
    from stripe.params import InvoiceItemCreateParams

STATES: dict[str, InvoiceState] = {
    "draft": "draft", "open": "open", "paid": "paid", "void": "void", "uncollectible": "uncollectible",
}  # fmt: skip


class Invoices(Calls):
    """The part of the gateway for invoices. Call it with no transaction open."""

    def push_invoice(self, draft: Draft, timing: Timing) -> Pushed:
        """Create an invoice with its lines, check its total against ours, and finalise it.

        Raises `GatewayRefused` with reason `negative`, `amount_too_fine` or `total_differs`; the draft at Stripe then
        stays a draft, which charges nobody.
        """
        if draft.total.minor < 0:
            raise GatewayRefused("An invoice below zero is not collected: credit the amount.", reason="negative")
        amounts = {line.our_id: to_stripe(from_minor(line.amount, draft.currency)) for line in draft.lines}
        invoice = self._change(
            key(draft.our_id, "create"),
            timing,
            lambda options: self._stripe.v1.invoices.create(new_invoice(draft), options),
            lambda: self._invoice(draft.our_id, draft.customer, since(timing)),
        )
        # A repeated creation returns the invoice as it was then.
        current = self._read(lambda: self._stripe.v1.invoices.retrieve(invoice.id))
        if current.status == "draft":
            self._add_lines(draft, current.id, amounts, timing)
            current = self._finalise(draft, current.id, timing)
        return Pushed(current.id, current.hosted_invoice_url or "", _total(current), _state(current))

    def _add_lines(self, draft: Draft, invoice: str, amounts: dict[str, int], timing: Timing) -> None:
        known = self._read(lambda: set(self._items(invoice))) if windows_passed(timing) else set()
        for line in draft.lines:
            if line.our_id not in known:
                self._add_line(
                    draft, invoice, new_item(draft, invoice, line, amounts[line.our_id]), line.our_id, timing
                )

    def _add_line(self, draft: Draft, invoice: str, item: InvoiceItemCreateParams, our_id: str, timing: Timing) -> None:
        self._change(
            key(draft.our_id, f"line:{our_id}"),
            timing,
            lambda options: self._stripe.v1.invoice_items.create(item, options),
            lambda: self._items(invoice).get(our_id),
        )

    def _finalise(self, draft: Draft, invoice: str, timing: Timing) -> stripe.Invoice:
        current = self._read(lambda: self._stripe.v1.invoices.retrieve(invoice))
        if _total(current) != draft.total:
            raise GatewayRefused(
                f"Stripe totals {_total(current).plain()}, we total {draft.total.plain()}.", reason="total_differs"
            )
        return self._transition(
            key(draft.our_id, "finalise"),
            invoice,
            timing,
            lambda options: self._stripe.v1.invoices.finalize_invoice(invoice, {"auto_advance": False}, options),
            leaves=("draft",),
        )

    def send_invoice(self, invoice: InvoiceRef, timing: Timing) -> None:
        """Let Stripe send an invoice by email. After a day of unknown outcomes it may be sent twice."""
        self._change(
            key(invoice.our_id, "send"),
            timing,
            lambda options: self._stripe.v1.invoices.send_invoice(invoice.external_id, {}, options),
            lambda: None,
        )

    def pay(self, invoice: InvoiceRef, method: str, attempt: int, timing: Timing) -> InvoiceState:
        """Charge a payment method for the whole invoice; `attempt` counts from 1 and rises after `Declined`."""
        paid = self._transition(
            key(invoice.our_id, f"pay:{attempt}"),
            invoice.external_id,
            timing,
            lambda options: self._stripe.v1.invoices.pay(
                invoice.external_id, {"payment_method": method, "off_session": True}, options
            ),
            leaves=("draft", "open", "uncollectible"),
        )
        return _state(paid)

    def mark_paid(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Record that an invoice was paid outside Stripe."""
        paid = self._transition(
            key(invoice.our_id, "paid-outside"),
            invoice.external_id,
            timing,
            lambda options: self._stripe.v1.invoices.pay(invoice.external_id, {"paid_out_of_band": True}, options),
            leaves=("draft", "open", "uncollectible"),
        )
        return _state(paid)

    def void(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Cancel an unpaid invoice; a draft is deleted, and a deleted one is void."""
        current = self._read_if_there(lambda: self._stripe.v1.invoices.retrieve(invoice.external_id))
        if current is None:
            return "void"
        if current.status == "draft":
            self._read_if_there(lambda: self._stripe.v1.invoices.delete(invoice.external_id))
            return "void"
        voided = self._transition(
            key(invoice.our_id, "void"),
            invoice.external_id,
            timing,
            lambda options: self._stripe.v1.invoices.void_invoice(invoice.external_id, {}, options),
            leaves=("open", "uncollectible"),
        )
        return _state(voided)

    def write_off(self, invoice: InvoiceRef, timing: Timing) -> InvoiceState:
        """Record that nobody expects the payment."""
        written_off = self._transition(
            key(invoice.our_id, "write-off"),
            invoice.external_id,
            timing,
            lambda options: self._stripe.v1.invoices.mark_uncollectible(invoice.external_id, {}, options),
            leaves=("draft", "open"),
        )
        return _state(written_off)

    def credit_note(self, note: CreditNote, timing: Timing) -> str:
        """Credit a finalised invoice; return the external id."""
        invoice = note.invoice.external_id
        current = self._read(lambda: self._stripe.v1.invoices.retrieve(invoice))
        params = new_credit_note(note, paid=current.status == "paid")
        credited = self._change(
            key(note.our_id, "credit"),
            timing,
            lambda options: self._stripe.v1.credit_notes.create(params, options),
            lambda: self._credit_note(note.our_id, invoice),
        )
        return credited.id

    def payments(self, invoice: InvoiceRef) -> tuple[Payment, ...]:
        """Return the successful payments of an invoice; none for one that was paid outside Stripe."""

        def call() -> tuple[Payment, ...]:
            listed = self._stripe.v1.invoice_payments.list(
                {"invoice": invoice.external_id, "status": "paid", "limit": PAGE}
            )
            return tuple(
                Payment(id_of(one.payment.payment_intent), from_stripe(one.amount_paid or 0, one.currency))
                for one in listed.auto_paging_iter()
                if one.payment.type == "payment_intent"
            )

        return self._read(call)

    def _transition(
        self,
        step: str,
        invoice: str,
        timing: Timing,
        send: Callable[[RequestOptions], stripe.Invoice],
        *,
        leaves: tuple[str, ...],
    ) -> stripe.Invoice:
        """Take an invoice out of some states; it has happened once the invoice is in another."""

        def find() -> stripe.Invoice | None:
            current = self._stripe.v1.invoices.retrieve(invoice)
            return None if current.status in leaves else current

        return self._change(step, timing, send, find)

    def _invoice(self, our_id: str, customer: str, after: int = 0) -> stripe.Invoice | None:
        listed = self._stripe.v1.invoices.list({"customer": customer, "limit": PAGE, "created": {"gte": after}})
        return next(ours(listed.auto_paging_iter(), our_id), None)

    def _items(self, invoice: str) -> dict[str, stripe.InvoiceItem]:
        """Return the items of an invoice by our id."""
        listed = self._stripe.v1.invoice_items.list({"invoice": invoice, "limit": PAGE})
        return {given(one).get("our_id", ""): one for one in listed.auto_paging_iter()}

    def _credit_note(self, our_id: str, invoice: str) -> stripe.CreditNote | None:
        listed = self._stripe.v1.credit_notes.list({"invoice": invoice, "limit": PAGE})
        return next(ours(listed.auto_paging_iter(), our_id), None)


def _total(invoice: stripe.Invoice) -> Money:
    return from_stripe(invoice.total, invoice.currency)


def _state(invoice: stripe.Invoice) -> InvoiceState:
    return STATES[invoice.status or "draft"]
