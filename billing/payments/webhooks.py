"""Webhooks of Stripe: verified on the raw body, then turned into an event of ours. No call leaves the process.

The library's own age check is not used: it reads the clock of the host, and a tolerance of 0 turns it off. Ours takes
the database's time.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import stripe

from billing.payments.errors import WebhookRefused
from billing.payments.events import EventKind, PaymentEvent
from billing.payments.stripe_parts.amounts import from_stripe
from billing.payments.stripe_parts.client import Account, id_of

OLDEST_S = 300
LARGEST_BODY = 1_000_000
LARGEST_HEADER = 4096

KINDS = {
    "invoice.created": EventKind.INVOICE_CREATED,
    "invoice.finalized": EventKind.INVOICE_FINALISED,
    "invoice.paid": EventKind.INVOICE_PAID,
    "invoice.payment_failed": EventKind.INVOICE_PAYMENT_FAILED,
    "invoice.voided": EventKind.INVOICE_VOIDED,
    "invoice.marked_uncollectible": EventKind.INVOICE_UNCOLLECTIBLE,
    "checkout.session.async_payment_succeeded": EventKind.CHECKOUT_PAID,
    "checkout.session.async_payment_failed": EventKind.CHECKOUT_FAILED,
    "checkout.session.expired": EventKind.CHECKOUT_EXPIRED,
    "payment_intent.succeeded": EventKind.CHARGE_SUCCEEDED,
    "payment_intent.payment_failed": EventKind.CHARGE_FAILED,
    "refund.failed": EventKind.REFUND_FAILED,
    "credit_note.created": EventKind.CREDITED,
    "credit_note.voided": EventKind.CREDIT_VOIDED,
    "charge.dispute.created": EventKind.DISPUTED,
}
REFUND_KINDS = {
    "succeeded": EventKind.REFUNDED,
    "failed": EventKind.REFUND_FAILED,
    "canceled": EventKind.REFUND_FAILED,
}
#: How a dispute ends; `warning_closed`: the bank asked, and took nothing back.
DISPUTE_ENDS = {
    "won": EventKind.DISPUTE_WON,
    "warning_closed": EventKind.DISPUTE_WON,
    "lost": EventKind.DISPUTE_LOST,
}
#: The field of an object that holds its amount; others have `amount`.
AMOUNTS = {"invoice": "total", "checkout.session": "amount_total", "credit_note": "total"}
#: A credit note may have lowered what was paid.
PAID_AMOUNT = {"invoice.paid": "amount_paid"}


def verified(account: Account, body: bytes, signature: str, now: datetime) -> dict[str, Any]:
    """Return the content of a signed, current event of this account. Raises `WebhookRefused` with the reason."""
    if len(body) > LARGEST_BODY:
        raise WebhookRefused("too_large")
    if len(signature) > LARGEST_HEADER or not signature.isascii():
        raise WebhookRefused("signature")
    if not any(_signed(body, signature, secret) for secret in account.webhook_secrets):
        raise WebhookRefused("signature")
    if abs(int(now.timestamp()) - _timestamp(signature)) > OLDEST_S:
        raise WebhookRefused("age")
    event = _parsed(body)
    if event.get("livemode") is not account.livemode:
        raise WebhookRefused("livemode")
    if (event.get("account") or "") != account.connected:
        raise WebhookRefused("account")
    if not _known_version(event.get("api_version")):
        raise WebhookRefused("api_version")
    return event


def event_of(event: dict[str, Any]) -> PaymentEvent:
    """Return a verified event in our terms; one of an object that is not ours has an empty `our_id`."""
    one = event["data"]["object"]
    about = one.get("metadata") or {}
    name = str(one.get("object"))
    units = one.get(PAID_AMOUNT.get(event["type"]) or AMOUNTS.get(name, "amount"))
    return PaymentEvent(
        id=event["id"],
        kind=_kind(event["type"], one),
        our_id=str(about.get("our_id", "")),
        tenant_id=str(about.get("tenant_id", "")),
        purpose=str(about.get("purpose", "")),
        external_id=str(one.get("id", "")),
        payment=one["id"] if name == "payment_intent" else id_of(one.get("payment_intent")),
        amount=from_stripe(units, one["currency"]) if isinstance(units, int) and one.get("currency") else None,
        occurred_at=datetime.fromtimestamp(event["created"], UTC),
        customer=id_of(one.get("customer")),
    )


def _kind(name: str, one: dict[str, Any]) -> EventKind:
    if name == "checkout.session.completed":
        if one.get("mode") == "setup":
            return EventKind.METHOD_SAVED
        return EventKind.CHECKOUT_PAID if one.get("payment_status") == "paid" else EventKind.OTHER
    if name in ("refund.created", "refund.updated"):
        return REFUND_KINDS.get(str(one.get("status")), EventKind.REFUND_PENDING)
    if name == "charge.dispute.closed":
        return DISPUTE_ENDS.get(str(one.get("status")), EventKind.OTHER)
    return KINDS.get(name, EventKind.OTHER)


def _signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        # No tolerance: the age is checked above, by the database's time.
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance=None)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _timestamp(signature: str) -> int:
    """Return the time that was signed; the signature has been verified, so there is exactly this one."""
    return int(next(part for part in signature.split(",") if part.startswith("t=")).split("=")[1])


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
        whole = event["object"] == "event" and isinstance(event["data"]["object"], dict)
        whole = whole and all(isinstance(event[name], str) and event[name] for name in ("id", "type"))
        whole = whole and isinstance(event["created"], int)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise WebhookRefused("content")
    return dict(event)


def _known_version(version: Any) -> bool:
    """Whether the event has the shapes of the library: those of its major version, `DATE.NAME`."""
    return isinstance(version, str) and version.partition(".")[2] == stripe.major_api_version
