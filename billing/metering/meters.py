"""Meters that an organisation defines for its own events."""

from __future__ import annotations

import re
from uuid import UUID

from django.db.models import Q

from billing.budgets import counters
from billing.defaults import METERS, SECOND
from billing.models import HeldEvent, Meter, MeterReading, UsageRollup
from billing.rating.aggregation import AGGREGATIONS, SUM
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound
from tenants.isolation import limits
from tenants.lookalikes import imitates
from tenants.operations import check_text

METER_DEFINED = AuditAction("billing.meter.defined")
METER_CHANGED = AuditAction("billing.meter.changed")
KEY = re.compile(r"[a-z][a-z0-9_]{0,59}")
EVENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,119}")
MOST_METERS = 200


class MeterExists(Conflict):
    """A meter with this key or event type already exists."""

    code = "meter_exists"


class MeterInUse(Conflict):
    """This meter has usage, and keeps its aggregation: bills must not change. Define another meter with its own event type."""

    code = "meter_in_use"


def provide() -> None:
    """Give the open scope's tenant the platform's meters; those it has stay."""
    known = set(Meter.objects.values_list("key", flat=True))
    if not known:
        rows = [Meter(key=one.key, title=one.title, unit=one.unit, event_type=one.event_type) for one in METERS]
        Meter.objects.bulk_create(rows, ignore_conflicts=True)
        return
    for spec in METERS:
        if spec.key not in known:
            ensure(spec.key)


def ensure(key: str) -> None:
    """Ensure that a platform meter exists in the open scope; older tenants may lack it."""
    if Meter.objects.filter(key=key).exists():
        return
    spec = next(spec for spec in METERS if spec.key == key)
    taken = Meter.objects.filter(event_type=spec.event_type).exists()  # a meter of the tenant has it
    event_type = f"exchequer.{spec.event_type}" if taken else spec.event_type
    Meter.objects.get_or_create(key=key, defaults={"title": spec.title, "unit": spec.unit, "event_type": event_type})


@operation(METER_DEFINED)
def define(*, actor: Actor, title: str, unit: str, event_type: str, key: str = "", aggregation: str = SUM) -> Meter:
    """Define a meter that counts events of `event_type`, each with a quantity in `unit` (`second` for time).

    `aggregation`: how it makes a quantity of its events, as `billing.rating.aggregation` describes. The key defaults to one made from the event type. Raises Invalid, or MeterExists for a known key or event type.
    """
    actor.require("meters.manage")
    title, unit = check_text(title, "title"), check_text(unit, "unit", 30)
    key = key or re.sub(r"[^a-z0-9]+", "_", event_type.lower()).strip("_")[:60]
    faults = {}
    if not EVENT_TYPE.fullmatch(event_type):
        faults["event_type"] = ["Use letters, digits and _ . : / -, at most 120, such as storage.gib_hours."]
    if not KEY.fullmatch(key):
        faults["key"] = ["Use small letters, digits and _, beginning with a letter, at most 60."]
    taken = [name for meter in METERS for name in (meter.key, meter.title)]
    if imitates(title, taken):
        faults["title"] = ["This title looks like one of the platform’s own meters. Choose another title."]
    if imitates(key, taken):
        faults["key"] = ["This key looks like one of the platform’s own meters. Choose another key."]
    if fault := _aggregation_fault(aggregation, unit):
        faults["aggregation"] = [fault]
    if faults:
        raise Invalid(fields=faults)
    counters.lock_budget_set(exclusive=True)  # of two identical concurrent calls, the second finds the first
    if Meter.objects.filter(Q(key=key) | Q(event_type=event_type)).exists():
        raise MeterExists
    if imitates(title, Meter.objects.values_list("title", flat=True)):
        raise Invalid(fields={"title": ["Another meter has a title that looks the same. Choose another one."]})
    if limits.is_full(Meter.objects.all(), MOST_METERS):
        raise Conflict(f"An organisation has at most {MOST_METERS} meters.")
    chosen = {"title": title, "unit": unit, "event_type": event_type, "aggregation": aggregation}
    meter = Meter.objects.create(key=key, **chosen)
    record(METER_DEFINED, actor=actor, target=meter, changes={name: [None, value] for name, value in chosen.items()})
    return meter


@operation(METER_CHANGED)
def change(*, actor: Actor, meter_id: UUID, aggregation: str) -> Meter:
    """Change how an own meter without usage makes a quantity of its events.

    Raises NotFound, Invalid, MeterInUse once usage of it was accepted or waits for review.
    """
    actor.require("meters.manage")
    counters.lock_budget_set(exclusive=True)  # no usage is accepted meanwhile
    meter = Meter.objects.filter(pk=meter_id).first()
    if meter is None:
        raise NotFound
    if meter.key in {one.key for one in METERS}:
        raise Invalid(fields={"aggregation": ["A meter of the platform sums its events."]})
    if fault := _aggregation_fault(aggregation, meter.unit):
        raise Invalid(fields={"aggregation": [fault]})
    if aggregation == meter.aggregation:
        unchanged("it does so already")
        return meter
    used = (
        UsageRollup.objects.filter(meter=meter),
        MeterReading.objects.filter(meter=meter),
        HeldEvent.objects.filter(meter=meter.key),
    )
    if any(rows.exists() for rows in used):
        raise MeterInUse
    changes = {"aggregation": [meter.aggregation, aggregation]}
    meter.aggregation = aggregation
    meter.save(update_fields=["aggregation"])
    record(METER_CHANGED, actor=actor, target=meter, changes=changes)
    return meter


def _aggregation_fault(aggregation: str, unit: str) -> str | None:
    if aggregation not in AGGREGATIONS:
        return f"Choose one of {', '.join(AGGREGATIONS)}."
    if unit == SECOND and aggregation != SUM:
        return "A meter whose unit is the second sums time. Choose another unit, such as GiB-hour for a time-weighted meter."
    return None
