"""A validated and priced request for a job; nothing is stored here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, QuerySet

from billing.allocation.required_tags import missing_tags
from billing.pricing import price_books, quotes
from billing.rating.quantity import WHOLE, share_dims, share_said
from billing.rating.tags import tag_fault
from compute import kinds, labels, limits
from compute.devices.base import of_instances
from compute.estimates import past_runs
from compute.estimates.forecast import Forecast
from compute.estimates.past_runs import Kept
from compute.jobs.kept import More
from compute.jobs.repricing import grace_s
from compute.kinds import Plan
from compute.models import Device, SharedClass
from tenants.access.actor import Actor
from tenants.errors import Invalid
from tenants.projects.sight import project_fault
from tenants.quotas import person_of

ON_DEMAND, SPOT = TIERS = ("on_demand", "spot")
"""The available tiers. Spot work gives way to any other: it is stopped with a checkpoint, waits and goes on."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What somebody asks for, before it is checked. Without `max_seconds` the estimate sets the longest run time.

    `quote_id`: the quote whose price and run time bind. `more`: what to ask for, and to wait for, if a budget or
    a quota of the month refuses it. `share`: thousandths of the one device.
    """

    name: str
    kind: str
    project_id: UUID
    spec: Mapping[str, Any]
    device_class: str
    tier: str = ON_DEMAND
    max_seconds: int | None = None
    max_cost: Decimal | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    devices: int = 1
    share: int = WHOLE
    one_node: bool = True
    node_labels: Mapping[str, str] = field(default_factory=dict)
    quote_id: UUID | None = None
    more: More | None = None


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A validated request for a job: what `submit` stores and a quote prices.

    `asked_seconds` is the requested time limit, None if the estimate sets it (`max_seconds`).
    """

    name: str
    kind: str
    project_id: UUID
    spec: dict[str, Any]
    device_class: str
    tier: str
    max_seconds: int
    asked_seconds: int | None = None
    devices: int = 1
    share: int = WHOLE
    one_node: bool = True
    node_labels: dict[str, str] = field(default_factory=dict)
    max_cost: Decimal | None
    tags: dict[str, str]
    person: UUID | None = None
    plan: Plan
    forecast: Forecast
    kept: Kept

    @property
    def needed_s(self) -> int:
        """Return the typical seconds of a run."""
        return max(1, round(self.forecast.typical_s))

    @property
    def typical_s(self) -> int:
        """Return the typical seconds of a run, capped by its time limit."""
        return min(self.needed_s, self.max_seconds)

    def typical_range(self) -> tuple[int, int]:
        """Return the seconds between which nine runs of ten end, capped by the time limit."""
        least, most = self.needed_range()
        return min(least, self.max_seconds), min(most, self.max_seconds)

    def needed_range(self) -> tuple[int, int]:
        """Return the seconds between which nine runs of ten would end without a limit."""
        return max(1, math.floor(self.forecast.least_s)), max(1, math.ceil(self.forecast.most_s))

    def stopped_by(self, second_amount: Decimal) -> str | None:
        """Return which of the job's own limits would probably stop a typical run before its end; None where none would."""
        if self.max_cost is not None and self.max_cost < self.typical_s * second_amount:
            return "max_cost"
        return "max_seconds" if self.needed_s >= self.max_seconds else None

    def body(self) -> dict[str, Any]:
        """Return the body that a quote binds, JSON-able and independent of the order of keys."""
        return {
            "kind": self.kind,
            "project": str(self.project_id),
            "spec": self.spec,
            "device_class": self.device_class,
            "devices": self.devices,
            "one_node": self.one_node,
            "tier": self.tier,
            "max_seconds": self.asked_seconds,
            "max_cost": None if self.max_cost is None else str(self.max_cost),
            **share_dims(self.share),
        }


def check(*, actor: Actor, asked: Submission) -> JobRequest:
    """Return the validated job request. Opens nothing, stores nothing.

    Raises Invalid with every wrong field.
    """
    return check_all(actor=actor, asked=asked, specs=[asked.spec])[0]


def check_all(*, actor: Actor, asked: Submission, specs: Sequence[Mapping[str, Any]]) -> list[JobRequest]:
    """Return a validated job request for each of some specifications of the same launch. Raises as `check`."""
    faults: dict[str, list[str]] = {}
    if not asked.name.strip() or len(asked.name) > 120 or not asked.name.isprintable():
        faults["name"] = ["Enter a name of 1 to 120 characters."]
    if not 1 <= asked.devices <= limits.MOST_DEVICES:
        faults["devices"] = [f"Use 1 to {limits.MOST_DEVICES} devices."]
    elif asked.devices > 1 and of_instances(asked.device_class):
        faults["devices"] = ["Instances of a GPU cannot work together. Use 1 device, or a class of whole GPUs."]
    if asked.tier not in TIERS:
        faults["tier"] = [f"Choose one of: {', '.join(TIERS)}."]
    if asked.max_seconds is not None and not 1 <= asked.max_seconds <= limits.MOST_SECONDS:
        faults["max_seconds"] = [f"Use 1 to {limits.MOST_SECONDS} seconds."]
    if asked.max_cost is not None and not (asked.max_cost.is_finite() and 0 < asked.max_cost < 10**12):
        faults["max_cost"] = ["Use an amount above 0, or leave it empty for no limit of its own."]
    offered = Device.objects.filter(serves=False).exclude(state="gone")
    of_class = offered.filter(device_class=asked.device_class)
    if not of_class.exists():
        known = sorted(offered.values_list("device_class", flat=True).distinct())
        faults["device_class"] = [
            f"Choose one of: {', '.join(known)}." if known else "No device is registered yet. Start a node first."
        ]
    elif asked.node_labels and (wrong := _labels_fault(asked)):
        faults["node_labels"] = [wrong]
    if asked.share != WHOLE and (unshared := _share_fault(asked)):
        faults["share"] = [unshared]
    if fault := tag_fault(asked.tags):
        faults["tags"] = [fault]
    elif lacking := missing_tags(asked.tags, asked.kind):
        faults["tags"] = lacking
    if fault := project_fault(actor, "jobs.launch", asked.project_id):
        faults["project"] = [fault]
    if faults:
        raise Invalid(fields=faults)
    evidence = cache(past_runs.evidence)
    return [_checked(actor, replace(asked, spec=spec), of_class, evidence) for spec in specs]


def _checked(
    actor: Actor, asked: Submission, of_class: QuerySet[Device], known: Callable[[str, str], past_runs.Evidence]
) -> JobRequest:
    """Return the request, whose fields but the specification are valid. `known`: the evidence by family and device class."""
    chosen = kinds.get(asked.kind)
    normalised = chosen.validate(actor, dict(asked.spec))
    kinds.admit(actor, asked.kind, asked.name.strip(), normalised)
    plan = _plan(chosen.plan(normalised), asked.devices, asked.share)
    if asked.devices > 1 and (fault := _too_many(plan, asked, of_class.filter(**_labelled(asked)))):
        raise Invalid(fields={"devices": [fault]})
    expected = past_runs.expect(plan, known(plan.family, asked.device_class))
    return JobRequest(
        name=asked.name.strip(),
        kind=asked.kind,
        project_id=asked.project_id,
        spec=normalised,
        device_class=asked.device_class,
        devices=asked.devices,
        share=asked.share,
        one_node=asked.one_node,
        node_labels=dict(asked.node_labels),
        tier=asked.tier,
        max_seconds=limits.default_seconds(expected.forecast.most_s)
        if asked.max_seconds is None
        else asked.max_seconds,
        asked_seconds=asked.max_seconds,
        max_cost=asked.max_cost,
        tags=dict(asked.tags),
        person=person_of(actor),
        plan=plan,
        forecast=expected.forecast,
        kept=expected.kept,
    )


def _labels_fault(asked: Submission) -> str:
    return labels.fault_of(asked.node_labels) or labels.refusal(asked.device_class, asked.node_labels)


def _labelled(asked: Submission) -> dict[str, Any]:
    return {"node__labels__contains": dict(asked.node_labels)} if asked.node_labels else {}


def _plan(plan: Plan, devices: int, share: int) -> Plan:
    """Return the plan on so many devices, or on a share of one: its runs are compared with their like.

    By its formula a share does the work in as much more time.
    """
    if share != WHOLE:
        family = f"{plan.family} {share_said(share)}" if plan.family else ""
        return replace(plan, family=family, typical_s=plan.start_s + plan.work_s * WHOLE / share)
    return plan if devices == 1 or not plan.family else replace(plan, family=f"{plan.family} x{devices}")


def _share_fault(asked: Submission) -> str:
    """Return why a job cannot have a share of a device; empty if it can."""
    if asked.devices != 1:
        return "A share is of one device. Work on several devices takes whole ones."
    opened = SharedClass.objects.filter(device_class=asked.device_class).values_list("parts", flat=True).first() or []
    if asked.share in [WHOLE // parts for parts in opened]:
        return ""
    offered = ", ".join(share_said(WHOLE // parts) for parts in [1, *opened])
    return f"Choose one of: {offered}." if opened else "Devices of this class are not shared. Leave it out, or use 1."


def _too_many(plan: Plan, asked: Submission, of_class: QuerySet[Device]) -> str:
    """Return why a job cannot use so many devices at once; empty if it can."""
    devices = asked.devices
    if devices > plan.most_devices:
        return (
            "This work runs on one device."
            if plan.most_devices == 1
            else f"This work uses up to {plan.most_devices} devices."
        )
    if not asked.one_node:
        total = of_class.count()
        return f"There are {total} devices of this class in all." if devices > total else ""
    widest = of_class.values("node").annotate(number=Count("id")).aggregate(most=Max("number"))["most"]
    return f"No host has more than {widest} devices of this class." if devices > widest else ""


def estimate(order: JobRequest) -> quotes.Estimate:
    """Return the expected cost of the request and the amount to hold, at the tenant's current prices."""
    return quotes.estimate(_work(order))


def estimate_all(orders: Sequence[JobRequest]) -> list[quotes.Estimate]:
    """Return the expected cost of each of the requests of `check_all`, the budget of each being that before all."""
    return quotes.estimates([_work(order) for order in orders])


def estimate_on(order: JobRequest, tier: str) -> quotes.Estimate | None:
    """Return the expected cost of the request on another tier; None without a price for it."""
    try:
        return quotes.estimate(_work(replace(order, tier=tier)))
    except price_books.PriceMissing:
        return None


def _work(order: JobRequest) -> quotes.Work:
    return quotes.Work(
        project_id=order.project_id,
        meter=kinds.meter_of(order.kind),
        dims={"device_class": order.device_class, "tier": order.tier, **share_dims(order.share)},
        typical_s=order.typical_s,
        between=order.typical_range(),
        worst_s=order.max_seconds,
        grace_s=grace_s(),
        max_cost=order.max_cost,
        tags=order.tags,
        person=order.person,
        at_once=Decimal(order.devices * order.share) / WHOLE,
    )
