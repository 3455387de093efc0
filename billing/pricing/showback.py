"""A tenant's showback book: the prices that it shows its projects in place of the contract's. It reaches no invoice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.db import connection

from billing.models import Meter, ShowbackPrice
from billing.money import EXACT
from billing.pricing import publishing
from billing.queries.calendar import tenant_today
from billing.rating.new_price import NewPrice
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Invalid

SHOWBACK_SET = AuditAction("billing.showback.set")


@operation(SHOWBACK_SET)
def set_prices(*, actor: Actor, prices: Sequence[NewPrice]) -> None:
    """Replace the whole book; an empty one shows every project what the contract charges.

    Raises PermissionDenied, Invalid for malformed, duplicate or impossible prices, TooManyPrices.
    """
    actor.require("invoices.manage")
    publishing.check_size(prices)
    if prices and (wrong := publishing.faults(prices)):
        raise Invalid(fields=wrong)
    known = set(Meter.objects.values_list("key", flat=True))
    if unknown := sorted({one.meter for one in prices} - known):
        raise Invalid(fields={"prices": [f"There is no meter {unknown[0]}. Choose among {', '.join(sorted(known))}."]})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('billing.showback' || %s, 0))", [str(actor.tenant_id)]
        )
    currency, rows = tenant_today().currency, list(ShowbackPrice.objects.all())
    before = {_mark(row.meter, row.dims): row.unit_amount for row in rows}
    after = {_mark(one.meter, one.dims): EXACT.plus(one.unit_amount) for one in prices}
    if before == after and all(row.currency == currency for row in rows):
        unchanged("the book has these prices already")
        return
    ShowbackPrice.objects.all().delete()
    ShowbackPrice.objects.bulk_create(
        ShowbackPrice(meter=one.meter, dims=dict(one.dims), unit_amount=EXACT.plus(one.unit_amount), currency=currency)
        for one in prices
    )
    changed = {mark for mark in before.keys() | after.keys() if before.get(mark) != after.get(mark)}
    record(
        SHOWBACK_SET,
        actor=actor,
        target=("showback", None, "showback book"),
        changes={mark: [_text(before.get(mark)), _text(after.get(mark))] for mark in sorted(changed)},
    )


def _mark(meter: str, dims: Mapping[str, str]) -> str:
    """Return a price's meter and dimensions as a text."""
    named = ", ".join(f"{name} {value}" for name, value in sorted(dims.items()))
    return f"{meter} ({named})" if named else meter


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.normalize():f}"
