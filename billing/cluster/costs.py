"""Enter what a device-hour costs the platform. A cost is never edited or removed: the class's next one follows it, or it is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from billing.models import DeviceCost, DeviceCostWithdrawal
from billing.rating.billed.faults import number_faults
from tenants import clock
from tenants.audit import AuditAction
from tenants.currencies import currency_fault
from tenants.errors import Conflict, Invalid, NotFound
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

DEVICE_COST_ENTERED = AuditAction("billing.device_cost.entered")
DEVICE_COST_WITHDRAWN = AuditAction("billing.device_cost.withdrawn")
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('billing.device_costs', 0))"
CLASS_CHARS = 80


class CostWithdrawn(Conflict):
    """This cost is withdrawn already."""

    code = "device_cost_withdrawn"


@dataclass(frozen=True, kw_only=True)
class NewDeviceCost:
    """A cost to enter: a device-hour of the class from the start of a day, in UTC."""

    device_class: str
    per_hour: Decimal
    currency: str
    starts_on: date


def enter(*, operator: Operator, new: NewDeviceCost, reason: str) -> DeviceCost:
    """Enter a cost. The first of a class, and one in the place of a withdrawn one, may begin on any day, another after today.

    Raises Invalid for impossible figures, a start in the past, one that the class has, or another currency than that of all.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
        if faults := _faults(new):
            raise Invalid(fields=faults)
        made = DeviceCost.objects.create(
            device_class=new.device_class.strip(),
            per_hour=new.per_hour,
            currency=new.currency,
            starts_on=new.starts_on,
            entered_by=operator.label[:254],
        )
        record_act(operator, DEVICE_COST_ENTERED, target=("device_cost", made.pk, _label(made)), reason=reason)
    return made


def withdraw(*, operator: Operator, cost_id: UUID, reason: str) -> None:
    """Withdraw a cost entered by mistake: the bill of each month has the one before it, or none. Raises NotFound, CostWithdrawn."""
    operator.require("prices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
        found = DeviceCost.objects.filter(pk=cost_id).select_related("withdrawal").first()
        if found is None:
            raise NotFound
        if is_withdrawn(found):
            raise CostWithdrawn
        DeviceCostWithdrawal.objects.create(cost=found, withdrawn_by=operator.label[:254])
        record_act(operator, DEVICE_COST_WITHDRAWN, target=("device_cost", found.pk, _label(found)), reason=reason)


def is_withdrawn(cost: DeviceCost) -> bool:
    """Return whether a cost is withdrawn, for one that was read with its withdrawal."""
    return hasattr(cost, "withdrawal")


def costs(*, after: UUID | None = None, limit: int = 50) -> list[DeviceCost]:
    """Return up to `limit` + 1 costs, withdrawn ones too, the newest entered first, those entered before `after`."""
    rows = DeviceCost.objects.select_related("withdrawal").order_by("-id")
    if after is not None:
        rows = rows.filter(pk__lt=after)
    return list(rows[: limit + 1])


@dataclass(frozen=True)
class Costs:
    """The costs that begin before a time, by class, each the newest first; `currency` is None while there is none at all."""

    currency: str | None
    by_class: dict[str, list[tuple[date, Decimal]]]

    def of(self, device_class: str, day: date) -> Decimal | None:
        """Return the cost of a device-hour on a day in UTC; None before the first of its class."""
        return next((cost for start, cost in self.by_class.get(device_class, ()) if start <= day), None)


def costs_until(day: date) -> Costs:
    """Return all costs that begin on or before a day."""
    found: dict[str, list[tuple[date, Decimal]]] = {}
    rows = _standing().filter(starts_on__lte=day).order_by("device_class", "-starts_on")
    for name, start, cost in rows.values_list("device_class", "starts_on", "per_hour"):
        found.setdefault(name, []).append((start, cost))
    return Costs(_standing().values_list("currency", flat=True).first(), found)


def _standing() -> QuerySet[DeviceCost]:
    """Return the costs that are not withdrawn."""
    return DeviceCost.objects.filter(withdrawal=None)


def _label(cost: DeviceCost) -> str:
    return f"{cost.device_class}: {cost.per_hour.normalize():f} {cost.currency} an hour from {cost.starts_on}"


def _faults(new: NewDeviceCost) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    name = new.device_class.strip()
    if not 0 < len(name) <= CLASS_CHARS or not name.isprintable():
        faults["device_class"] = [f"Name the class of device, such as cpu, in at most {CLASS_CHARS} characters."]
    if wrong := list(number_faults("per_hour", new.per_hour)):
        faults["per_hour"] = [wrong[0].message]
    of_all = _standing().values_list("currency", flat=True).first()
    if fault := currency_fault(new.currency):
        faults["currency"] = [fault]
    elif of_all not in (None, new.currency):
        faults["currency"] = [f"Give the cost in {of_all}, as all others: the bill has one currency."]
    of_class = set(_standing().filter(device_class=name).values_list("starts_on", flat=True))
    takes_a_place = DeviceCost.objects.filter(device_class=name, starts_on=new.starts_on).exists()
    tomorrow = clock.now().date() + timedelta(days=1)
    if new.starts_on in of_class:
        faults["starts_on"] = ["Another cost of this class begins then. Choose another day."]
    elif of_class and new.starts_on < tomorrow and not takes_a_place:
        faults["starts_on"] = [f"Choose a day from {tomorrow} on: hours that passed keep their cost."]
    return faults
