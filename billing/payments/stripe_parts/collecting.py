"""Money through Stripe outside invoices: pages to pay at, charges of saved payment methods, refunds."""

from __future__ import annotations

from datetime import UTC, datetime

import stripe

from billing.payments.errors import Declined
from billing.payments.requests import Charge, CheckoutPage, CheckoutRequest, Payment, Refund, Timing
from billing.payments.stripe_parts.amounts import from_stripe, to_stripe
from billing.payments.stripe_parts.calls import PAGE, Calls, key, since
from billing.payments.stripe_parts.client import metadata, ours
from billing.payments.stripe_parts.forms import new_charge, new_checkout


class Collecting(Calls):
    """The part of the gateway for payments. Call it with no transaction open."""

    def checkout(self, request: CheckoutRequest, timing: Timing) -> CheckoutPage:
        """Create a page where a person pays, or saves a payment method. It closes after a day."""
        session = self._change(
            key(request.our_id, f"checkout:{request.purpose}"),
            timing,
            lambda options: self._stripe.v1.checkout.sessions.create(new_checkout(request), options),
            lambda: self._session(request.our_id, request.customer, since(timing)),
        )
        return CheckoutPage(session.id, session.url or "", datetime.fromtimestamp(session.expires_at, UTC))

    def expire_checkout(self, external_id: str) -> None:
        """Close a page; nothing happens if it is complete or expired. Repeating it changes nothing, so it needs no key."""

        def call() -> None:
            if self._stripe.v1.checkout.sessions.retrieve(external_id).status == "open":
                self._stripe.v1.checkout.sessions.expire(external_id)

        self._read_if_there(call)

    def charge(self, charge: Charge, timing: Timing) -> Payment:
        """Charge a saved payment method without the payer. Raises `Declined`, also if the payer must confirm it."""
        intent = self._change(
            key(charge.our_id, f"charge:{charge.attempt}"),
            timing,
            lambda options: self._stripe.v1.payment_intents.create(new_charge(charge), options),
            lambda: self._charged(charge, since(timing)),
        )
        if intent.status not in ("succeeded", "processing"):
            raise Declined(intent.status)
        return Payment(intent.id, from_stripe(intent.amount, intent.currency))

    def refund(self, refund: Refund, timing: Timing) -> str:
        """Return part of a payment to the payer; return the external id."""
        refunded = self._change(
            key(refund.our_id, "refund"),
            timing,
            lambda options: self._stripe.v1.refunds.create(
                {
                    "payment_intent": refund.payment,
                    "amount": to_stripe(refund.amount),
                    "metadata": metadata(refund.our_id, refund.tenant_id, purpose="refund"),
                },
                options,
            ),
            lambda: self._refund(refund.our_id, refund.payment),
        )
        return refunded.id

    def _session(self, our_id: str, customer: str, after: int = 0) -> stripe.checkout.Session | None:
        listed = self._stripe.v1.checkout.sessions.list(
            {"customer": customer, "limit": PAGE, "created": {"gte": after}}
        )
        return next(ours(listed.auto_paging_iter(), our_id), None)

    def _intent(self, our_id: str, customer: str, after: int = 0, **more: str) -> stripe.PaymentIntent | None:
        listed = self._stripe.v1.payment_intents.list({"customer": customer, "limit": PAGE, "created": {"gte": after}})
        return next(ours(listed.auto_paging_iter(), our_id, **more), None)

    def _charged(self, charge: Charge, after: int) -> stripe.PaymentIntent | None:
        """Find the charge of this attempt. Raises `Declined` if it was."""
        found = self._intent(charge.our_id, charge.customer, after, attempt=str(charge.attempt))
        failed = found.last_payment_error if found else None
        if failed is not None:
            raise Declined(failed.decline_code or failed.code or "declined", failed.message)
        return found

    def _refund(self, our_id: str, payment: str) -> stripe.Refund | None:
        listed = self._stripe.v1.refunds.list({"payment_intent": payment, "limit": PAGE})
        return next(ours(listed.auto_paging_iter(), our_id), None)
