"""The seller's exchange rates as pages list them, and the one in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing.models import ExchangeRate
from billing.rating.exchange import Rate
from tenants import clock
from tenants.errors import NotFound

COMING, IN_FORCE, PAST = "coming", "in_force", "past"


@dataclass(frozen=True, slots=True)
class ExchangeRateView:
    """A row of the table: one unit of `source` buys `rate` of `target`. `state` is coming, in_force or past."""

    id: UUID
    source: str
    target: str
    rate: Decimal
    valid_from: datetime
    origin: str
    entered_by: str
    entered_at: datetime
    state: str


def exchange_rates(*, after: UUID | None = None, limit: int = 50) -> list[ExchangeRateView]:
    """Return up to `limit` + 1 rates, the newest entered first, those entered before `after`."""
    rows = ExchangeRate.objects.order_by("-id")
    if after is not None:
        rows = rows.filter(pk__lt=after)
    return _views(list(rows[: limit + 1]))


def exchange_rate(rate_id: UUID) -> ExchangeRateView:
    """Return one rate. Raises NotFound."""
    row = ExchangeRate.objects.filter(pk=rate_id).first()
    if row is None:
        raise NotFound
    return _views([row])[0]


def convertible_to(currency: str) -> list[str]:
    """Return the currencies from which there is a rate to this one."""
    return sorted(set(ExchangeRate.objects.filter(target=currency).values_list("source", flat=True)))


def rate_in_force(source: str, target: str, at: datetime) -> Rate | None:
    """Return the rate of a pair at a time; None before its first."""
    row = ExchangeRate.objects.filter(source=source, target=target, valid_from__lte=at).order_by("-valid_from").first()
    return Rate(row.pk, row.source, row.rate, row.valid_from) if row else None


def _views(rows: Sequence[ExchangeRate]) -> list[ExchangeRateView]:
    now = clock.now()
    begun = ExchangeRate.objects.filter(valid_from__lte=now, source__in={row.source for row in rows})
    latest = begun.order_by("source", "target", "-valid_from").distinct("source", "target")
    current = set(latest.values_list("pk", flat=True))
    names = ("source", "target", "rate", "valid_from", "origin", "entered_by", "entered_at")
    return [
        ExchangeRateView(
            id=row.pk,
            state=COMING if row.valid_from > now else IN_FORCE if row.pk in current else PAST,
            **{name: getattr(row, name) for name in names},
        )
        for row in rows
    ]
