"""The price shown on a launch form, signed: the launch binds it as a quote, or reports why it cannot.

A form requests its price at every change. Only the launched price becomes a quote, so that nothing is stored or audited
while a person is still choosing.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.core import signing

from billing.money import Money
from billing.pricing import quotes
from billing.pricing.quotes import Estimate
from billing.queries.calendar import tenant_today
from compute.jobs.job_request import JobRequest, estimate
from tenants import clock
from tenants.access.actor import Actor
from tenants.errors import Conflict

SALT = "compute.offered"
AMOUNTS = ("typical", "least", "most", "worst")


class PriceRose(Conflict):
    """The price has gone up since the quote. Nothing was launched; check the new price and launch again."""

    code = "price_rose"


def sign(actor: Actor, order: JobRequest, priced: Estimate) -> str:
    """Return the signed price that the form sends back."""
    content = {
        "tenant": str(actor.tenant_id), "body": quotes.fingerprint(order.body()).hex(), "at": clock.now().isoformat(),
        "version": str(priced.price_version), "price": str(priced.price_id), "unit": str(priced.unit_amount),
        "currency": priced.currency, "limit": order.max_seconds, "forecast": order.forecast.json(),
        **{name: str(getattr(priced, name).amount) for name in AMOUNTS},
    }  # fmt: skip
    return signing.dumps(content, salt=SALT, compress=True)


def bind(actor: Actor, order: JobRequest, text: str) -> tuple[UUID | None, str]:
    """Bind the shown price as a quote for this job request; return its id, or None and the reason.

    Raises PriceRose if it cannot be bound and the unit price is higher now.
    """
    if not text:
        return None, ""
    try:
        content = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        return None, "The price in the form was not valid"
    expires = datetime.fromisoformat(content["at"]) + quotes.QUOTE_LIFE
    if content["tenant"] == str(actor.tenant_id) and content["body"] == quotes.fingerprint(order.body()).hex():
        if content["currency"] != tenant_today().currency:
            return None, f"The quoted price was in {content['currency']}, which the organisation no longer pays in"
        if clock.now() < expires:
            shown = _estimate(content, Decimal(order.max_seconds))
            quote = quotes.bind(
                actor=actor, project_id=order.project_id, body=order.body(), estimate=shown, limit_s=content["limit"],
                forecast=content["forecast"], expires_at=expires,
            )  # fmt: skip
            return quote.id, ""
        why = "The quoted price was older than fifteen minutes"
    else:
        why = "The form changed after the quote"
    now = estimate(order)
    if now.unit_amount > Decimal(content["unit"]) and now.price_version != UUID(content["version"]):
        raise PriceRose(
            f"{why}, and the price per second has gone up. Nothing was launched; check the new price and launch again."
        )
    return None, f"{why}: the job was launched at the current price."


def _estimate(content: dict[str, str], limit_s: Decimal) -> Estimate:
    typical, least, most, worst = (Money(Decimal(content[name]), content["currency"]) for name in AMOUNTS)
    return Estimate(
        unit_amount=Decimal(content["unit"]), currency=content["currency"], price_version=UUID(content["version"]),
        price_id=UUID(content["price"]), budget_left_after=None, billable_limit_s=limit_s,
        typical=typical, least=least, most=most, worst=worst,
    )  # fmt: skip
