"""The operators' ceilings: the most that a tenant may use of a resource, whatever limits it sets itself."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, Invalid
from tenants.models import AT_ONCE, QuotaCeiling
from tenants.quotas.resources import Resource, resources

CEILING_CHANGED = AuditAction("tenants.quota_ceiling.changed")
CEILING_RAISED = AuditAction("tenants.quota_ceiling.raised")
LARGEST = 2**53


class NothingToRaise(Conflict):
    """The ceiling is that high already, or was lifted. Decline the request and say so."""

    code = "nothing_to_raise"


@dataclass(frozen=True)
class CeilingRow:
    """One ceiling, in counted units, with who set it and why."""

    resource: str
    period: str
    limit: int | None
    guaranteed: int
    weight: int
    set_by: str
    reason: str
    set_at: datetime
    raised_to: int | None
    raised_until: datetime | None


@operation(CEILING_CHANGED)
def set_ceiling(
    *, actor: Actor, resource: str, limit: int | None, reason: str, guaranteed: int = 0, weight: int = 1
) -> CeilingRow:
    """Set or lift (None) the ceiling of the actor's tenant, in the resource's shown unit, as an operator; it ends a raise.

    `actor` is `Actor.system(tenant_id, "operator")`: the tenant reads that the operator did it, the operator log who.

    It needs no permission of the tenant: the database lets only the operators' console and the commands write it. A
    ceiling below a limit leaves the limit as it is; the lower one binds. Raises `Invalid`.
    """
    found = _checked(resource, limit, guaranteed, weight, reason)
    key = {"resource": resource, "period": found.period}
    before = QuotaCeiling.objects.select_for_update(no_key=True).filter(**key).first()
    old: dict[str, Any] = {"limit": None, "guaranteed": 0, "weight": 1, "raised_until": None}
    old |= {name: getattr(before, name) for name in old} if before else {}
    wanted: dict[str, Any] = {
        "limit": None if limit is None else limit * found.unit,
        "guaranteed": guaranteed * found.unit,
        "weight": weight,
        "raised_until": None,
    }
    said: dict[str, Any] = {
        "set_by": actor.label[:254],
        "reason": reason.strip(),
        "set_at": DatabaseNow(),
        "raised_to": None,
    }
    row = before or QuotaCeiling(**key)
    for name, value in (wanted | said).items():
        setattr(row, name, value)
    row.save()
    changes = {
        name: [_shown(found, name, old[name]), _shown(found, name, new)]
        for name, new in wanted.items()
        if name == "limit" or old[name] != new
    }
    record(CEILING_CHANGED, actor=actor, target=("quota_ceiling", row.id, found.title), changes=changes, reason=reason)
    return next(one for one in ceilings() if one.resource == resource)


@operation(CEILING_RAISED)
def raise_ceiling(*, actor: Actor, resource: str, limit: int, until: datetime | None, reason: str) -> None:
    """Raise a ceiling that exists, as `set_ceiling` does, until a date if given: then it falls back by itself.

    Raises Invalid, `NothingToRaise`.
    """
    found = _checked(resource, limit, 0, 1, reason)
    row = QuotaCeiling.objects.select_for_update(no_key=True).filter(resource=resource, period=found.period).first()
    if row is None or row.limit is None or limit * found.unit <= row.limit:
        raise NothingToRaise
    if until is not None and until <= now():
        raise NothingToRaise("The date until which it was asked for is over. Decline the request.")
    if fault := raise_fault(found, (row.raised_to, row.raised_until), limit * found.unit, until):
        raise NothingToRaise(f"{fault} Decline the request and say so.")
    changes: dict[str, Any] = {"limit": [found.shown(row.limit), limit], "raised_until": [row.raised_until, until]}
    if until is not None:
        row.raised_to, row.raised_until = limit * found.unit, until
    else:
        row.limit = limit * found.unit
        if row.raised_to is not None and row.raised_to <= row.limit:
            row.raised_to = row.raised_until = None
    row.set_by, row.reason, row.set_at = actor.label[:254], reason.strip(), now()
    row.save()
    record(CEILING_RAISED, actor=actor, target=("quota_ceiling", row.id, found.title), changes=changes, reason=reason)


def raise_fault(
    found: Resource, in_force: tuple[int | None, datetime | None], limit: int, until: datetime | None
) -> str:
    """Return why a raise until a date may not replace the one in force (to, until), which it would lower or end sooner."""
    raised_to, raised_until = in_force
    if until is None or raised_to is None or raised_until is None or raised_until <= now():
        return ""
    kept = f"It is raised to {found.said(raised_to)} until {raised_until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if limit < raised_to or (limit == raised_to and until <= raised_until):
        return f"{kept}, which this would replace by less."
    return f"{kept}, and this would end before that." if until < raised_until else ""


def ceilings() -> list[CeilingRow]:
    """Return the ceilings of the open scope's tenant, by resource."""
    names = list(CeilingRow.__dataclass_fields__)
    return [CeilingRow(*row) for row in QuotaCeiling.objects.order_by("resource").values_list(*names)]


def ceiling_of(resource: str, period: str = AT_ONCE) -> int | None:
    """Return one ceiling that binds now, its raise included, in counted units; None without one."""
    row = QuotaCeiling.objects.filter(resource=resource, period=period).first()
    if row is None or row.limit is None or row.raised_to is None or row.raised_until is None:
        return row.limit if row else None
    return max(row.limit, row.raised_to) if row.raised_until > now() else row.limit


def _checked(resource: str, limit: int | None, guaranteed: int, weight: int, reason: str) -> Resource:
    known = resources()
    faults: dict[str, list[str]] = {}
    if resource not in known:
        faults["resource"] = [f"There is no such resource. Use one of {', '.join(sorted(known))}."]
    if limit is not None and not 0 <= limit < LARGEST:
        faults["limit"] = ["Use a whole number of 0 or more, or leave it empty for no ceiling."]
    if not 0 <= guaranteed < LARGEST or (limit is not None and guaranteed > limit):
        faults["guaranteed"] = ["The guaranteed part is 0 or more, and at most the ceiling."]
    if not 1 <= weight <= 1000:
        faults["weight"] = ["Use a weight from 1 to 1000."]
    if not 3 <= len(reason.strip()) <= 400 or not reason.isprintable():
        faults["reason"] = ["Say why, in 3 to 400 characters."]
    if faults:
        raise Invalid(fields=faults)
    return known[resource]


def _shown(found: Resource, name: str, value: object) -> object:
    return found.shown(value) if isinstance(value, int) and name != "weight" else value
