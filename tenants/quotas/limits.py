"""Operations on limits: set, lift, and raise for some time. The operators' ceiling bounds each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record
from tenants.clock import now
from tenants.errors import Conflict, Invalid
from tenants.models import Quota
from tenants.quotas import scopes
from tenants.quotas.ceilings import NothingToRaise, ceiling_of, raise_fault
from tenants.quotas.resources import Resource, resources
from tenants.quotas.scopes import ORGANISATION, Scope
from tenants.quotas.usage import QuotaUse, usage_of

QUOTA_CHANGED = AuditAction("tenants.quota.changed")
QUOTA_RAISED = AuditAction("tenants.quota.raised")
LARGEST = 2**53


class AboveCeiling(Conflict):
    """The operators of this installation allow less. Ask them to raise the ceiling."""

    code = "above_ceiling"


@dataclass(frozen=True)
class Share:
    """What a scope gets before others (`guaranteed`, in shown units), and its `weight` when they compete."""

    guaranteed: int = 0
    weight: int = 1


def check_limit(
    resource: str, limit: int | None, *, scope: Scope = ORGANISATION, period: str = "", share: Share | None = None
) -> Resource:
    """Return the resource; `limit` is in its shown unit.

    Raises `Invalid` for a resource that no app reserves, unless it has a limit to lift, for an invalid limit or share, or
    a period or scope in which it is not counted; `AboveCeiling`.
    """
    known = resources()
    if resource not in known and not (resource.isprintable() and Quota.objects.filter(resource=resource).exists()):
        raise Invalid(fields={"resource": [f"There is no such resource. Use one of {', '.join(sorted(known))}."]})
    found = known.get(resource, Resource(resource, resource))
    faults: dict[str, list[str]] = {}
    if limit is not None and not 0 <= limit * found.unit < LARGEST:
        faults["limit"] = ["Use a whole number of 0 or more, or leave it empty for no limit."]
    if period and period != found.period:
        faults["period"] = [f"{found.title} are counted {found.period_words}."]
    if scope.project_id and not found.of_projects:
        faults["scope"] = [f"{found.title} do not belong to a project. Limit the organisation or a person."]
    if share is not None and not (0 <= share.guaranteed * found.unit < LARGEST and 1 <= share.weight <= 1000):
        faults["guaranteed"] = ["Use a guaranteed part of 0 or more, and a weight from 1 to 1000."]
    if share is not None and limit is not None and share.guaranteed > limit:
        faults["guaranteed"] = ["The guaranteed part is at most the limit."]
    if faults:
        raise Invalid(fields=faults)
    _check_ceiling(found, limit)
    return found


@operation(QUOTA_CHANGED)
def set_limit(
    *, actor: Actor, resource: str, limit: int | None, scope: Scope = ORGANISATION, share: Share | None = None
) -> QuotaUse:
    """Set or lift (None) a scope's limit, in the resource's shown unit; it ends a raise.

    Lowering it does not affect what is in use. Raises `Invalid`, `AboveCeiling`.
    """
    actor.require("quotas.manage", InProject(scope.project_id))
    found = check_limit(resource, limit, scope=scope, share=share)
    quota = _locked(found, scope)
    wanted: dict[str, Any] = {"limit": None if limit is None else limit * found.unit}
    if share is not None:
        wanted |= {"guaranteed": share.guaranteed * found.unit, "weight": share.weight}
    before = {name: getattr(quota, name) for name in wanted}
    if quota.raised_until is not None:
        before["raised_until"], wanted["raised_until"] = quota.raised_until, None
    Quota.objects.filter(id=quota.id).update(**wanted, raised_to=None)
    changes: dict[str, list[object]] = {
        name: [_in_unit(found, name, before[name]), _in_unit(found, name, new)]
        for name, new in wanted.items()
        if name == "limit" or before[name] != new
    }
    _record(QUOTA_CHANGED, actor, quota, label(found, scope), changes)
    return _use(found, scope)


@operation(QUOTA_CHANGED)
def raise_limit(*, actor: Actor, resource: str, limit: int, scope: Scope = ORGANISATION) -> QuotaUse:
    """Raise a scope's limit permanently, in the resource's shown unit; a raise until a date to more than that stays.

    Raises `Invalid`, `AboveCeiling`, `NothingToRaise`.
    """
    found, quota = _to_raise(actor, resource, limit, scope)
    wanted: dict[str, Any] = {"limit": limit * found.unit}
    if quota.raised_to is not None and quota.raised_to <= wanted["limit"]:
        wanted |= {"raised_to": None, "raised_until": None}
    Quota.objects.filter(id=quota.id).update(**wanted)
    _record(QUOTA_CHANGED, actor, quota, label(found, scope), {"limit": [_in_unit(found, "limit", quota.limit), limit]})
    return _use(found, scope)


@operation(QUOTA_RAISED)
def raise_until(
    *, actor: Actor, resource: str, limit: int, until: datetime, scope: Scope = ORGANISATION, reason: str = ""
) -> QuotaUse:
    """Raise a scope's limit until a date, when it falls back by itself. Raises `Invalid`, `AboveCeiling`, `NothingToRaise`."""
    found, quota = _to_raise(actor, resource, limit, scope)
    if until <= now():
        raise Invalid(fields={"until": ["Use a time in the future."]})
    if fault := raise_fault(found, (quota.raised_to, quota.raised_until), limit * found.unit, until):
        raise Invalid(fields={"limit": [f"{fault} Decline the request."]})
    Quota.objects.filter(id=quota.id).update(raised_to=limit * found.unit, raised_until=until)
    changes: dict[str, list[object]] = {
        "limit": [_in_unit(found, "limit", quota.limit), limit],
        "raised_until": [quota.raised_until, until],
    }
    _record(QUOTA_RAISED, actor, quota, label(found, scope), changes, reason)
    return _use(found, scope)


def _to_raise(actor: Actor, resource: str, limit: int, scope: Scope) -> tuple[Resource, Quota]:
    """Return a limit that is lower, locked, with its resource."""
    actor.require("quotas.manage", InProject(scope.project_id))
    found = check_limit(resource, limit, scope=scope)
    quota = _locked(found, scope)
    if quota.limit is None:
        raise NothingToRaise("There is no limit to raise: it was lifted. Decline the request.")
    if limit * found.unit <= quota.limit:
        raise NothingToRaise(
            f"The limit is {found.said(quota.limit)}, which this would not raise. Decline the request."
        )
    return found, quota


def label(found: Resource, scope: Scope, whose: str = "") -> str:
    """Return a limit as the audit log names it: its resource, and whose it is unless it is the organisation's.

    `whose`: the scope's name, where it is known already.
    """
    return found.title if scope == ORGANISATION else f"{found.title} of {whose or scopes.names([scope])[scope]}"


def _check_ceiling(found: Resource, limit: int | None) -> None:
    ceiling = ceiling_of(found.name, found.period)
    if limit is not None and ceiling is not None and limit * found.unit > ceiling:
        raise AboveCeiling(
            f"The operators of this installation allow {found.said(ceiling)} of {found.title} for the whole organisation. "
            "Use at most that, or ask them to raise the ceiling.",
            resource=found.name,
            ceiling=found.shown(ceiling),
        )


def _locked(found: Resource, scope: Scope) -> Quota:
    key = {"resource": found.name, "period": found.period, "project_id": scope.project_id, "person": scope.person}
    Quota.objects.bulk_create([_claimed(Quota(**key))], ignore_conflicts=True)
    return Quota.objects.select_for_update(no_key=True, of=("self",)).get(**key)


def _claimed(quota: Quota) -> Quota:
    quota.claim_tenant()
    return quota


def _in_unit(found: Resource, name: str, value: object) -> object:
    return found.shown(value) if isinstance(value, int) and name != "weight" else value


def _record(
    action: AuditAction, actor: Actor, quota: Quota, named: str, changes: dict[str, list[object]], reason: str = ""
) -> None:
    record(action, actor=actor, target=("quota", quota.id, named), changes=changes, reason=reason)


def _use(found: Resource, scope: Scope) -> QuotaUse:
    uses = usage_of(project_id=scope.project_id, person=scope.person)
    return next(use for use in uses if (use.resource, use.scope) == (found.name, scope))
