"""What all parts of the gateway share: a client, and how they change and read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import stripe
from stripe import RequestOptions

from billing.payments.attempts import Step, conclude, read
from billing.payments.errors import GatewayRefused
from billing.payments.requests import Timing
from billing.payments.stripe_parts.client import Account, new_client, outcomes

T = TypeVar("T")

PAGE = 100


class Calls:
    """Calls to one Stripe account. Every change goes through `_change`, every other request through `_read`."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._stripe: stripe.StripeClient = new_client(account)

    def _change(self, key: str, timing: Timing, send: Callable[[RequestOptions], T], find: Callable[[], T | None]) -> T:
        """Make one change under its idempotency key; see `attempts`."""

        def sending(idempotency_key: str) -> T:
            with outcomes():
                return send({"idempotency_key": idempotency_key})

        def finding() -> T | None:
            with outcomes():
                return find()

        return conclude(Step(key, sending, finding), timing)

    def _read(self, call: Callable[[], T]) -> T:
        def reading() -> T:
            with outcomes():
                return call()

        return read(reading)

    def _read_if_there(self, call: Callable[[], T]) -> T | None:
        """Return what a call returns; None if Stripe does not know the object."""
        try:
            return self._read(call)
        except GatewayRefused as refused:
            if refused.reason == "resource_missing":
                return None
            raise


def since(timing: Timing) -> int:
    """Return from when on a step can have created its object, with a day for clocks that differ; Unix seconds."""
    return int((timing.first_at - timedelta(days=1)).timestamp())


def key(our_id: str, step: str) -> str:
    """Return the idempotency key of a step of an object: the same in every process and repetition."""
    return f"exchequer:{our_id}:{step}"
