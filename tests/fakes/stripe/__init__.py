"""A stateful stand-in for Stripe on loopback, for the real `stripe` library: `with stripe_server() as fake`.

It answers as the published reference describes, for what billing uses: customers, payment methods, invoices, credit
notes, payments, refunds, Checkout with a page, events with signed webhooks, and idempotency keys. Faults are set on
`fake.faults`, or over HTTP under `/_fake/`.
"""

from tests.fakes.stripe.server import StripeServer, stripe_server

__all__ = ["StripeServer", "stripe_server"]
