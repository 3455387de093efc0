"""The parameters of objects that we create at Stripe. Pure; the same request always gives the same parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.payments.requests import Charge, CheckoutRequest, CreditNote, Draft, Line, from_minor
from billing.payments.stripe_parts.amounts import to_stripe
from billing.payments.stripe_parts.client import metadata

if TYPE_CHECKING:
    from stripe.params import (
        CreditNoteCreateParams,
        InvoiceCreateParams,
        InvoiceItemCreateParams,
        PaymentIntentCreateParams,
    )
    from stripe.params.checkout import SessionCreateParams


def new_invoice(draft: Draft) -> InvoiceCreateParams:
    """Return a draft that never advances by itself and takes no items of others."""
    return {
        "customer": draft.customer,
        "currency": draft.currency.lower(),
        "number": draft.number,
        "collection_method": "send_invoice",
        "days_until_due": draft.days_until_due,
        "auto_advance": False,
        "pending_invoice_items_behavior": "exclude",
        "metadata": metadata(draft.our_id, draft.tenant_id, purpose="invoice"),
    }


def new_item(draft: Draft, invoice: str, line: Line, amount: int) -> InvoiceItemCreateParams:
    """Return a line; `amount` in Stripe's minor units."""
    return {
        "customer": draft.customer,
        "invoice": invoice,
        "currency": draft.currency.lower(),
        "amount": amount,
        "description": line.description,
        "metadata": metadata(line.our_id, draft.tenant_id),
    }


def new_credit_note(note: CreditNote, *, paid: bool) -> CreditNoteCreateParams:
    """Return a credit note; on a paid invoice it says how the money returns."""
    params: CreditNoteCreateParams = {
        "invoice": note.invoice.external_id,
        "lines": [
            {
                "type": "custom_line_item",
                "description": line.description,
                "quantity": 1,
                "unit_amount": to_stripe(from_minor(line.amount, note.currency)),
            }
            for line in note.lines
        ],
        "metadata": metadata(note.our_id, note.invoice.tenant_id, purpose="credit_note"),
    }
    if paid:
        params["refund_amount" if note.refund else "out_of_band_amount"] = to_stripe(note.total)
    return params


def new_charge(charge: Charge) -> PaymentIntentCreateParams:
    """Return a payment without the payer, confirmed at once."""
    return {
        "amount": to_stripe(charge.amount),
        "currency": charge.amount.currency.lower(),
        "customer": charge.customer,
        "payment_method": charge.method,
        "off_session": True,
        "confirm": True,
        "metadata": metadata(charge.our_id, charge.tenant_id, purpose="top_up", attempt=str(charge.attempt)),
    }


def new_checkout(request: CheckoutRequest) -> SessionCreateParams:
    """Return a page for one payment, or for saving a payment method."""
    about = metadata(request.our_id, request.tenant_id, purpose=request.purpose)
    common: SessionCreateParams = {
        "customer": request.customer,
        "client_reference_id": request.our_id,
        "success_url": request.success_url,
        "cancel_url": request.cancel_url,
        "metadata": about,
    }
    currency = request.amount.currency.lower()
    if request.purpose == "method":
        return {**common, "mode": "setup", "currency": currency, "setup_intent_data": {"metadata": about}}
    return {
        **common,
        "mode": "payment",
        "payment_intent_data": {"metadata": about},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": currency,
                    "unit_amount": to_stripe(request.amount),
                    "product_data": {"name": request.description},
                },
            }
        ],
    }
