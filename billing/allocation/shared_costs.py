"""Which cost of an organisation is shared between its projects, and by which rule: finance sets the whole list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256
from uuid import UUID

from django.db import connection
from django.db.models import Case, F, When
from django.db.models.functions import Greatest

from billing.allocation.chargeback import cells_of
from billing.allocation.sharing import (
    BY_QUOTA,
    FIXED,
    ORGANISATION,
    PROJECT,
    RULES,
    SOURCES,
    TAG,
    Cost,
    Rule,
    Shared,
    share,
)
from billing.models import SharedCost
from billing.money import Money
from billing.queries.calendar import tenant_today
from billing.queries.invoices import InvoiceView
from billing.rating.billed.faults import number_faults
from billing.rating.calendar import period_bounds
from billing.rating.tags import tag_fault
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid
from tenants.models import Project, Quota

SHARED_COSTS_SET = AuditAction("billing.shared_costs.set")
MOST_RULES = 20
ALL = Decimal(100)
WHOLE = "Whole organisation"


class SharedCostsChanged(Conflict):
    """Somebody else has changed these rules since. Check them, then try again."""

    code = "shared_costs_changed"


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A project's month: its own cost, what of it others pay, the share that it receives, and the total.

    `project` is None for what belongs to no project, such as a shortfall that no rule shares.
    """

    project: str | None
    name: str
    own: Money
    given: Money
    received: Money
    total: Money


@dataclass(frozen=True, slots=True)
class SharedMonth:
    """A month with shared cost. The totals of its rows add up to `total`, the invoice's sum without tax."""

    period: date
    rows: Sequence[SharedRow]
    total: Money
    invoice: InvoiceView | None = None


def shared_costs() -> list[Rule]:
    """Return the rules of the open scope's tenant, in order."""
    return [
        Rule(
            source=row.source,
            how=row.rule,
            project=str(row.project_id) if row.project_id else None,
            tag=(row.tag_key, row.tag_value) if row.source == TAG else None,
            resource=row.resource,
            shares={name: Decimal(percent) for name, percent in row.shares.items()},
        )
        for row in SharedCost.objects.order_by("n")
    ]


def shared_month(period: date) -> SharedMonth:
    """Return a month by project with its shared cost, the dearest total first."""
    rules = shared_costs()
    tags = sorted({rule.tag[0] for rule in rules if rule.tag})
    cells, names, total, view = cells_of(period, ["project", *(f"tag:{name}" for name in tags)])
    costs = [Cost(keys[0], dict(zip(tags, keys[1:], strict=True)), cell.cost) for keys, cell in cells.items()]
    weighing = {rule.resource for rule in rules if rule.how == BY_QUOTA}
    found = share(costs, rules, _quotas(weighing, period), total.currency)
    known = {
        str(pk): name
        for pk, name in Project.objects.filter(pk__in=[key for key in found if key]).values_list("pk", "name")
    }
    rows = [
        SharedRow(key, _name(key, names, known), one.own, one.given, one.received, one.total)
        for key, one in found.items()
        if _counts(one)
    ]
    return SharedMonth(period, sorted(rows, key=lambda row: (-row.total.amount, row.name)), total, view)


def fingerprint(rules: Sequence[Rule]) -> str:
    """Return what distinguishes one list of rules from another."""
    return sha256("\n".join(_text(rule) for rule in rules).encode()).hexdigest()


@operation(SHARED_COSTS_SET)
def set_shared_costs(*, actor: Actor, rules: Sequence[Rule], instead_of: str | None = None) -> None:
    """Replace the whole list; months are shown by the new rules, invoices stay.

    `instead_of` is the fingerprint of the list that was changed. Raises PermissionDenied, Invalid, SharedCostsChanged.
    """
    actor.require("invoices.manage")
    if fault := _fault(rules):
        raise Invalid(fields={"rules": [fault]})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('billing.shared_costs' || %s, 0))", [str(actor.tenant_id)]
        )
    before = shared_costs()
    if instead_of is not None and instead_of != fingerprint(before):
        raise SharedCostsChanged
    if before == list(rules):
        unchanged("this cost is shared so already")
        return
    SharedCost.objects.all().delete()
    SharedCost.objects.bulk_create(
        SharedCost(
            n=n,
            source=rule.source,
            rule=rule.how,
            project_id=UUID(rule.project) if rule.project else None,
            tag_key=rule.tag[0] if rule.tag else "",
            tag_value=rule.tag[1] if rule.tag else "",
            resource=rule.resource,
            shares={name: format(percent.normalize(), "f") for name, percent in rule.shares.items()},
        )
        for n, rule in enumerate(rules, 1)
    )
    record(
        SHARED_COSTS_SET,
        actor=actor,
        target=("shared_costs", None, "shared cost"),
        changes={"rules": [[_text(one) for one in before], [_text(one) for one in rules]]},
    )


def _fault(rules: Sequence[Rule]) -> str:
    if len(rules) > MOST_RULES:
        return f"Give at most {MOST_RULES} rules."
    sources = [(rule.source, rule.project, rule.tag) for rule in rules]
    if len(set(sources)) < len(sources):
        return "Share each cost by one rule."
    known = {str(pk) for pk in Project.objects.values_list("pk", flat=True)}
    for rule in rules:
        if rule.source not in SOURCES or rule.how not in RULES:
            return f"Choose a source of {', '.join(SOURCES)}, and a rule of {', '.join(RULES)}."
        if (rule.source == PROJECT) != bool(rule.project) or (rule.source == TAG) != bool(rule.tag):
            return "A project names its id, a tag its name and value, the organisation neither."
        if rule.tag and (fault := tag_fault({rule.tag[0]: rule.tag[1]})):
            return fault
        if unknown := {name for name in (rule.project, *rule.shares) if name} - known:
            return f"There is no project {min(unknown)}."
        if fault := _share_fault(rule):
            return fault
    return ""


def _share_fault(rule: Rule) -> str:
    if bool(rule.resource) != (rule.how == BY_QUOTA) or len(rule.resource) > 80:
        return "Only by_quota names a resource, and it must, such as devices."
    if rule.how != FIXED:
        return "Only fixed has shares." if rule.shares else ""
    if any(not percent.is_finite() or percent <= 0 or percent > ALL for percent in rule.shares.values()):
        return "A share is a percentage above 0, at most 100."
    if wrong := [one for percent in rule.shares.values() for one in number_faults("shares", percent, decimals=4)]:
        return wrong[0].message
    if sum(rule.shares.values(), Decimal(0)) != ALL:
        return f"Fixed shares sum to 100 per cent; these sum to {sum(rule.shares.values(), Decimal(0)).normalize():f}."
    if rule.source == PROJECT and rule.project in rule.shares:
        return "A project cannot receive a share of itself."
    return ""


def _quotas(resources: set[str], period: date) -> Mapping[str, Mapping[str, int]]:
    """Return the limits as they stand, by resource and project, with a raise that did not end before the month."""
    if not resources:
        return {}
    starts_at = period_bounds(period, tenant_today().zone)[0]
    weighed = Case(When(raised_until__gt=starts_at, then=Greatest("limit", "raised_to")), default=F("limit"))
    rows = Quota.objects.filter(resource__in=resources, project__isnull=False, person=None, limit__isnull=False)
    found: dict[str, dict[str, int]] = {}
    for resource, project, limit in rows.order_by("period").values_list("resource", "project_id", weighed):
        found.setdefault(resource, {}).setdefault(str(project), limit or 0)
    return found


def _counts(one: Shared) -> bool:
    return bool(one.own or one.given or one.received)


def _name(key: str | None, names: Mapping[str, str], known: Mapping[str, str]) -> str:
    return WHOLE if key is None else names.get(key) or known.get(key) or key


def _text(rule: Rule) -> str:
    of = {ORGANISATION: WHOLE, PROJECT: f"project {rule.project}", TAG: "tag " + "=".join(rule.tag or ())}[rule.source]
    shares = ", ".join(f"{name} {percent.normalize():f}" for name, percent in sorted(rule.shares.items()))
    return f"{of}: {' '.join(part for part in (rule.how, rule.resource, shares) if part)}"
