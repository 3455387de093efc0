"""When devices count as idle: by the organisation's own rule, else by that of their class, else by that of all classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from django.db import connection, transaction

from compute.models import OwnIdleRule, PoolIdleRule
from compute.policy.idleness import IdleRule
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Invalid, NotFound
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

OWN_SET = AuditAction("compute.idle_rule.set")
POOL_SET = AuditAction("compute.pool_idle_rule.set")
POOL_REMOVED = AuditAction("compute.pool_idle_rule.removed")
MOST_MINUTES = 1440
MOST_PERCENT = 50
CLASS_CHARS = 80
ALL_CLASSES = "all classes"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('compute.idle_rule' || %s, 0))"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Devices that were busy for less than `busy_percent` of the last `window_minutes` minutes are idle; `grace_minutes` later they stop."""

    window_minutes: int
    busy_percent: int
    grace_minutes: int

    @property
    def rule(self) -> IdleRule:
        """The rule with these figures."""
        return IdleRule(
            window_s=self.window_minutes * 60.0, busy_below=self.busy_percent / 100, grace_s=self.grace_minutes * 60.0
        )

    def __str__(self) -> str:
        return f"busy below {self.busy_percent} % of {self.window_minutes} min, stop {self.grace_minutes} min later"


#: While nobody set another one.
BUILT_IN = Figures(window_minutes=30, busy_percent=5, grace_minutes=30)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules that concern an organisation: its `own`, else those of the platform `by_class`."""

    own: Figures | None
    by_class: Mapping[str, Figures]

    def of(self, device_class: str) -> Figures:
        """Return the figures for work on a class of device."""
        return self.own or self.by_class.get(device_class) or self.platform

    @property
    def general(self) -> Figures:
        """Those for a class without one of its own."""
        return self.of("")

    @property
    def platform(self) -> Figures:
        """Those of the platform for a class without one of its own."""
        return self.by_class.get("") or BUILT_IN

    @property
    def of_classes(self) -> list[tuple[str, Figures]]:
        """Classes for which the platform's figures differ from the general ones; none while the organisation has its own."""
        return [] if self.own else [(name, self.by_class[name]) for name in sorted(self.by_class) if name]


def of_platform() -> dict[str, Figures]:
    """Return the platform's rules by class; that of all other classes has the empty name."""
    return {row.device_class: _figures(row) for row in pool_rules()}


def pool_rules() -> list[PoolIdleRule]:
    """Return the platform's rules, that of all classes first."""
    return list(PoolIdleRule.objects.order_by("device_class"))


def rules(by_class: Mapping[str, Figures] | None = None) -> Rules:
    """Return the rules for the open scope's tenant."""
    row = OwnIdleRule.objects.first()
    platform = of_platform() if by_class is None else by_class
    return Rules(own=_figures(row) if row else None, by_class=platform)


@operation(OWN_SET)
def set_own(*, actor: Actor, figures: Figures | None) -> None:
    """Set the organisation's own rule; None returns to the platform's. Warnings given stay as they are. Raises Invalid."""
    actor.require("quotas.manage")
    check(figures)
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [str(actor.tenant_id)])
    row = OwnIdleRule.objects.first()
    before = _figures(row) if row else None
    if before == figures:
        unchanged("this rule is in force already")
        return
    if figures is None:
        OwnIdleRule.objects.all().delete()
    elif row is None:
        OwnIdleRule.objects.create(**asdict(figures))
    else:
        OwnIdleRule.objects.filter(id=row.id).update(**asdict(figures))
    shown = {"rule": [str(before) if before else None, str(figures) if figures else None]}
    record(OWN_SET, actor=actor, target=("idle_rule", None, "idle rule"), changes=shown)


def set_pool(*, operator: Operator, device_class: str, figures: Figures, reason: str) -> None:
    """Set the rule of a class of device, or with an empty class that of all others. Raises Invalid."""
    operator.require("fleet.manage")
    reason = check_reason(reason)
    check(figures)
    name = device_class.strip()
    if len(name) > CLASS_CHARS or not name.isprintable():
        raise Invalid(fields={"device_class": [f"Name the class of device in at most {CLASS_CHARS} characters."]})
    with transaction.atomic():
        row = PoolIdleRule(device_class=name, set_by=operator.label[:254], set_at=DatabaseNow(), **asdict(figures))
        PoolIdleRule.objects.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["device_class"],
            update_fields=[*asdict(figures), "set_by", "set_at"],
        )
        record_act(operator, POOL_SET, target=("idle_rule", name, f"{name or ALL_CLASSES}: {figures}"), reason=reason)


def remove_pool(*, operator: Operator, device_class: str, reason: str) -> None:
    """Remove the rule of a class of device, which then has that of all classes, or with an empty class that one. Raises NotFound."""
    operator.require("fleet.manage")
    reason = check_reason(reason)
    name = device_class.strip()
    with transaction.atomic():
        if not PoolIdleRule.objects.filter(device_class=name).delete()[0]:
            raise NotFound
        record_act(operator, POOL_REMOVED, target=("idle_rule", name, name or ALL_CLASSES), reason=reason)


def check(figures: Figures | None) -> None:
    """Raise Invalid for impossible figures."""
    faults: dict[str, list[str]] = {}
    for name, most in (
        ("window_minutes", MOST_MINUTES),
        ("busy_percent", MOST_PERCENT),
        ("grace_minutes", MOST_MINUTES),
    ):
        if figures is not None and not 1 <= getattr(figures, name) <= most:
            faults[name] = [f"Give a whole number from 1 to {most}."]
    if faults:
        raise Invalid(fields=faults)


def _figures(row: PoolIdleRule | OwnIdleRule) -> Figures:
    return Figures(window_minutes=row.window_minutes, busy_percent=row.busy_percent, grace_minutes=row.grace_minutes)
