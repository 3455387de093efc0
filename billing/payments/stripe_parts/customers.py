"""Customers at Stripe and their saved payment methods."""

from __future__ import annotations

import stripe

from billing.payments.requests import Payer, PaymentMethod, Timing
from billing.payments.stripe_parts.calls import PAGE, Calls, key
from billing.payments.stripe_parts.client import id_of, metadata, ours


class Customers(Calls):
    """The part of the gateway for customers. Call it with no transaction open."""

    def ensure_customer(self, payer: Payer, timing: Timing) -> str:
        """Return the external id of the tenant's customer, created if missing."""
        our_id = str(payer.tenant_id)
        customer = self._change(
            key(our_id, "customer"),
            timing,
            lambda options: self._stripe.v1.customers.create(
                {"name": payer.name, "email": payer.email, "metadata": metadata(our_id, our_id)}, options
            ),
            lambda: self._customer(our_id, payer.email),
        )
        return customer.id

    def payment_methods(self, customer: str) -> tuple[PaymentMethod, ...]:
        """Return the saved payment methods of a customer, in Stripe's order."""

        def call() -> tuple[PaymentMethod, ...]:
            settings = self._stripe.v1.customers.retrieve(customer).invoice_settings
            default = id_of(settings.default_payment_method) if settings else ""
            found = self._stripe.v1.payment_methods.list({"customer": customer, "limit": PAGE})
            return tuple(_method(one, default) for one in found.auto_paging_iter())

        return self._read(call)

    def set_default_method(self, customer: str, method: str) -> None:
        """Choose the payment method for invoices. Repeating it changes nothing, so it needs no key."""
        self._read(
            lambda: self._stripe.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
        )

    def remove_method(self, method: str) -> None:
        """Remove a saved payment method; nothing happens if no customer has it."""

        def call() -> None:
            if self._stripe.v1.payment_methods.retrieve(method).customer is not None:
                self._stripe.v1.payment_methods.detach(method)

        self._read_if_there(call)

    def _customer(self, our_id: str, email: str = "") -> stripe.Customer | None:
        """Find a customer: in the list of those with its email, which is current, then by Stripe's search."""
        if email:
            listed = self._stripe.v1.customers.list({"email": email, "limit": PAGE})
            if (found := next(ours(listed.auto_paging_iter(), our_id), None)) is not None:
                return found
        searched = self._stripe.v1.customers.search({"query": query(our_id)})
        return next(ours(searched.auto_paging_iter(), our_id), None)


def query(our_id: str) -> str:
    """Return the search for an object of ours."""
    escaped = our_id.replace("\\", "\\\\").replace("'", "\\'")
    return f"metadata['our_id']:'{escaped}'"


def _method(one: stripe.PaymentMethod, default: str) -> PaymentMethod:
    card = one.card
    return PaymentMethod(
        external_id=one.id,
        brand=card.brand if card else one.type,
        last4=(card.last4 if card else "") or "",
        expires=f"{card.exp_month:02}/{card.exp_year}" if card else "",
        default=one.id == default,
    )
