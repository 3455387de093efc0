"""Enter the seller's exchange rates. A rate is never edited or removed: the pair's next one follows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.models import ExchangeRate
from billing.rating.billed.faults import number_faults
from billing.rating.quantity import FUTURE_LIMIT
from tenants import clock
from tenants.audit import AuditAction
from tenants.currencies import currency_fault
from tenants.errors import Invalid
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

EXCHANGE_RATE_ENTERED = AuditAction("billing.exchange_rate.entered")
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('billing.exchange_rates', 0))"
LATEST = timedelta(days=3_660)


@dataclass(frozen=True, kw_only=True)
class NewExchangeRate:
    """A rate to enter: one unit of `source` buys so much of `target`; without `valid_from` as soon as it can begin.

    `origin` says who published it, such as ECB.
    """

    source: str
    target: str
    rate: Decimal
    origin: str
    valid_from: datetime | None = None


def enter(*, operator: Operator, new: NewExchangeRate, reason: str) -> ExchangeRate:
    """Enter a rate. The first of a pair may begin at once, a later one at least five minutes ahead.

    So no accepted usage changes its rate. Raises Invalid for impossible figures, a start in the past, or one that the pair has.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        with transaction.get_connection().cursor() as cursor:
            cursor.execute(LOCK)
        now = clock.now()
        of_pair = ExchangeRate.objects.filter(source=new.source, target=new.target)
        earliest = now + FUTURE_LIMIT if of_pair.exists() else now
        if faults := _faults(new, earliest):
            raise Invalid(fields=faults)
        if new.valid_from is not None and of_pair.filter(valid_from=new.valid_from).exists():
            raise Invalid(fields={"valid_from": ["Another rate of this pair begins then. Choose another time."]})
        start: Any = new.valid_from  # for None the trigger enters the earliest time that it allows
        made = ExchangeRate.objects.create(
            source=new.source,
            target=new.target,
            rate=new.rate,
            valid_from=start,
            origin=new.origin.strip(),
            entered_by=operator.label[:254],
        )
        made.refresh_from_db()
        label = f"1 {made.source} = {made.rate.normalize():f} {made.target} from {made.valid_from:%Y-%m-%d %H:%M} UTC"
        record_act(operator, EXCHANGE_RATE_ENTERED, target=("exchange_rate", made.pk, label), reason=reason)
    return made


def _faults(new: NewExchangeRate, earliest: datetime) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    for name in ("source", "target"):
        if fault := currency_fault(getattr(new, name)):
            faults[name] = [fault]
    if not faults and new.source == new.target:
        faults["target"] = ["Choose another currency: one is always worth itself."]
    if wrong := list(number_faults("rate", new.rate, positive=True)):
        faults["rate"] = [wrong[0].message]
    if not 1 <= len(new.origin.strip()) <= 120 or not new.origin.strip().isprintable():
        faults["origin"] = ["Name who published the rate, such as ECB, at most 120 characters."]
    start = new.valid_from
    if start is not None and start.utcoffset() is None:
        faults["valid_from"] = ["Give the time with its offset, such as 2026-12-01T00:00:00Z."]
    elif start is not None and start < earliest:
        faults["valid_from"] = [
            f"Choose a time from {earliest:%Y-%m-%d %H:%M} UTC on: what has been converted keeps its rate."
        ]
    elif start is not None and start > earliest + LATEST:
        faults["valid_from"] = ["Choose a time within ten years."]
    return faults
