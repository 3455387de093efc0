"""Which payment gateway this installation uses."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from django.conf import settings

from billing.payments.gateway import PaymentGateway
from billing.payments.in_process import InProcessGateway


def payment_gateway() -> PaymentGateway:
    """Return Stripe's gateway if STRIPE_API_KEY is set, else the one without a provider.

    STRIPE_WEBHOOK_SECRET holds one secret, or several separated by commas while one replaces another.
    """
    env = settings.EXCHEQUER
    if not env.stripe_api_key:
        return InProcessGateway()
    return _stripe(env.stripe_api_key, env.stripe_api_base, env.stripe_webhook_secret)


@cache
def _stripe(api_key: str, api_base: str, webhook_secrets: str) -> PaymentGateway:
    # Loading the library takes a third of a second, which a process that never collects is spared.
    module = import_module("billing.payments.stripe_gateway")
    secrets = tuple(secret for part in webhook_secrets.split(",") if (secret := part.strip()))
    account = module.Account(api_key=api_key, api_base=api_base, webhook_secrets=secrets)
    return cast("PaymentGateway", module.new_gateway(account))
