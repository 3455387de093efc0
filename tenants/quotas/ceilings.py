"""The operators' ceilings: the most that a tenant may use of a resource, whatever limits it sets itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow
from tenants.errors import Invalid
from tenants.models import AT_ONCE, QuotaCeiling
from tenants.quotas.resources import Resource, resources

CEILING_CHANGED = AuditAction("tenants.quota_ceiling.changed")
LARGEST = 2**53


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


@operation(CEILING_CHANGED)
def set_ceiling(
    *, actor: Actor, resource: str, limit: int | None, reason: str, guaranteed: int = 0, weight: int = 1
) -> CeilingRow:
    """Set or lift (None) the ceiling of the actor's tenant, in the resource's shown unit, as an operator.

    `actor` is `Actor.system(tenant_id, "operator")`: the tenant reads that the operator did it, the operator log who.

    It needs no permission of the tenant: the database lets only the operators' console and the commands write it. A
    ceiling below a limit leaves the limit as it is; the lower one binds. Raises `Invalid`.
    """
    found = _checked(resource, limit, guaranteed, weight, reason)
    key = {"resource": resource, "period": found.period}
    before = QuotaCeiling.objects.select_for_update(no_key=True).filter(**key).first()
    old: dict[str, Any] = {"limit": None, "guaranteed": 0, "weight": 1}
    old |= {name: getattr(before, name) for name in old} if before else {}
    wanted: dict[str, Any] = {
        "limit": None if limit is None else limit * found.unit,
        "guaranteed": guaranteed * found.unit,
        "weight": weight,
    }
    said: dict[str, Any] = {"set_by": actor.label[:254], "reason": reason.strip(), "set_at": DatabaseNow()}
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


def ceilings() -> list[CeilingRow]:
    """Return the ceilings of the open scope's tenant, by resource."""
    names = list(CeilingRow.__dataclass_fields__)
    return [CeilingRow(*row) for row in QuotaCeiling.objects.order_by("resource").values_list(*names)]


def ceiling_of(resource: str, period: str = AT_ONCE) -> int | None:
    """Return one ceiling, in counted units; None without one."""
    return QuotaCeiling.objects.filter(resource=resource, period=period).values_list("limit", flat=True).first()


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


def _shown(found: Resource, name: str, value: int | None) -> object:
    return found.shown(value) if value is not None and name != "weight" else value
