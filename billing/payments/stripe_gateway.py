"""The payment gateway through Stripe's own library. Load it only where a Stripe key is set: see `chosen`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.payments.events import PaymentEvent
from billing.payments.gateway import PaymentGateway
from billing.payments.requests import Found, Kind, Lookup
from billing.payments.stripe_parts.amounts import from_stripe
from billing.payments.stripe_parts.client import Account as Account
from billing.payments.stripe_parts.client import ours
from billing.payments.stripe_parts.collecting import Collecting
from billing.payments.stripe_parts.customers import Customers, query
from billing.payments.stripe_parts.invoices import Invoices
from billing.payments.webhooks import event_of, verified


class StripeGateway(Customers, Invoices, Collecting):
    """A `PaymentGateway` for one Stripe account. Call it with no transaction open.

    Each change has one idempotency key per object and step, and puts our id and the tenant's on the object.
    """

    name = "stripe"
    collects = True

    def read_back(self, lookup: Lookup) -> Found | None:
        """Find an object by our id, as Stripe has it at present."""
        found = self._read(lambda: self._look_up(lookup))
        if found is None:
            return None
        values = found.to_dict()
        units = next(
            (values[name] for name in ("total", "amount_total", "amount") if values.get(name) is not None), None
        )
        amount = from_stripe(units, values["currency"]) if units is not None and values.get("currency") else None
        return Found(lookup.kind, lookup.our_id, found.id, values.get("status") or "", amount)

    def event(self, body: bytes, signature: str, now: datetime) -> PaymentEvent:
        """Verify a webhook and return its event. Raises `WebhookRefused`. `body` is exactly as received."""
        return event_of(verified(self.account, body, signature, now))

    def _look_up(self, lookup: Lookup) -> Any:
        our_id, within = lookup.our_id, lookup.within
        match lookup.kind:
            case Kind.CUSTOMER:
                return self._customer(our_id)
            case Kind.INVOICE if within:
                return self._invoice(our_id, within)
            case Kind.CHARGE if within:
                return self._intent(our_id, within)
            case Kind.INVOICE:
                searched: Any = self._stripe.v1.invoices.search({"query": query(our_id)})
            case Kind.CHARGE:
                searched = self._stripe.v1.payment_intents.search({"query": query(our_id)})
            case Kind.CREDIT_NOTE:
                return self._credit_note(our_id, within)
            case Kind.REFUND:
                return self._refund(our_id, within)
            case Kind.CHECKOUT:
                return self._session(our_id, within)
        return next(ours(searched.auto_paging_iter(), our_id), None)


def new_gateway(account: Account) -> PaymentGateway:
    """Return the gateway of an account."""
    return StripeGateway(account)
