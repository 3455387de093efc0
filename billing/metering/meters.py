"""Meters that an organisation defines for its own events."""

from __future__ import annotations

import re

from django.db.models import Q

from billing.budgets import counters
from billing.defaults import METERS
from billing.models import Meter
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid
from tenants.lookalikes import imitates
from tenants.operations import check_text

METER_DEFINED = AuditAction("billing.meter.defined")
KEY = re.compile(r"[a-z][a-z0-9_]{0,59}")
EVENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,119}")
MOST_METERS = 200


class MeterExists(Conflict):
    """A meter with this key or event type already exists."""

    code = "meter_exists"


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
def define(*, actor: Actor, title: str, unit: str, event_type: str, key: str = "") -> Meter:
    """Define a meter that counts events of `event_type`, each with a quantity in `unit` (`second` for time).

    The key defaults to one made from the event type. Raises Invalid, or MeterExists for a known key or event type.
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
    if faults:
        raise Invalid(fields=faults)
    counters.lock_budget_set(exclusive=True)  # of two identical concurrent calls, the second finds the first
    if Meter.objects.filter(Q(key=key) | Q(event_type=event_type)).exists():
        raise MeterExists
    if imitates(title, Meter.objects.values_list("title", flat=True)):
        raise Invalid(fields={"title": ["Another meter has a title that looks the same. Choose another one."]})
    if Meter.objects.count() >= MOST_METERS:
        raise Conflict(f"An organisation has at most {MOST_METERS} meters.")
    meter = Meter.objects.create(key=key, title=title, unit=unit, event_type=event_type)
    changes = {name: [None, value] for name, value in (("unit", unit), ("event_type", event_type), ("title", title))}
    record(METER_DEFINED, actor=actor, target=meter, changes=changes)
    return meter
