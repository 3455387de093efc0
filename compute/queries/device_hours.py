"""Device seconds by hour: allocated, busy, and available to this tenant.

From the view of one tenant: capacity is what it may use at once (its quota now, at most the devices that were there then,
`DevicePresence`) times the time, until now. A cordoned device is no capacity, except where its work still ran. `held` is a
device taken but not yet, or no longer, running the child; it is not billed. Samples are cut to their allocation, so
that allocated = used + idle and capacity = allocated + held + free hold exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.money import Money
from billing.queries.calendar import tenant_today
from billing.resource_names import WITHHELD
from compute.jobs.job_quotas import devices as devices_of
from tenants import quotas
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.projects.sight import unnamed_projects

GROUPS = ("hour", "device_class", "device", "project")
#: Of all tenants together, in the console.
ACROSS = ("hour", "device_class", "tenant")
MOST_HOURS = 24 * 92
JOULES_IN_KWH = 3_600_000

_ALLOCATED = """
WITH span AS (SELECT hour, hour + interval '1 hour' AS until FROM generate_series(date_trunc('hour', %(start)s), %(end)s, '1 hour') AS hour
              WHERE hour < %(end)s),
runs AS (
    SELECT a.id, m.rank, m.share, a.device_class, CASE WHEN m.rank = 0 THEN a.device_name ELSE d.name END AS device_name, p.slug AS project, j.unit_amount, j.currency, a.assigned_at,
           coalesce(a.ended_at, exchequer_now()) AS ended_at, coalesce(a.started_at, a.assigned_at) AS billed_from,
           coalesce(a.measured_until, a.started_at, a.assigned_at) AS billed_until
    FROM compute_attempt a JOIN compute_job j ON j.tenant_id = a.tenant_id AND j.id = a.job_id
    JOIN tenants_project p ON p.tenant_id = j.tenant_id AND p.id = j.project_id
    JOIN compute_attemptmember m ON m.tenant_id = a.tenant_id AND m.attempt_id = a.id JOIN compute_device d ON d.id = m.device_id
    WHERE a.tenant_id = %(tenant)s AND a.assigned_at < %(end)s
      AND (a.ended_at IS NULL OR a.ended_at > date_trunc('hour', %(start)s))
),
cut AS (
    SELECT r.id, r.rank, r.device_class, r.device_name, r.project, r.unit_amount, r.currency, s.hour,
           greatest(0, extract(epoch FROM least(r.ended_at, s.until) - greatest(r.assigned_at, s.hour)) * r.share / 1000) AS taken,
           greatest(0, extract(epoch FROM least(r.billed_until, s.until) - greatest(r.billed_from, s.hour)) * r.share / 1000) AS allocated
    FROM runs r JOIN span s ON r.assigned_at < s.until AND r.ended_at > s.hour
),
busy AS (
    SELECT attempt_id, rank, hour, used_s AS used, energy_j FROM compute_devicehour
    WHERE tenant_id = %(tenant)s AND hour >= date_trunc('hour', %(start)s) AND hour < %(end)s
)
SELECT c.hour, c.device_class, c.device_name, c.project, c.unit_amount, c.currency, c.allocated, greatest(c.taken - c.allocated, 0),
       least(coalesce(b.used, 0), c.allocated), b.energy_j
FROM cut c LEFT JOIN busy b ON b.attempt_id = c.id AND b.rank = c.rank AND b.hour = c.hour
"""
_PRESENT = """
SELECT s.hour, p.device_class, sum(extract(epoch FROM least(p.over_at, s.hour + interval '1 hour') - greatest(p.from_at, s.hour)))
FROM (SELECT device_class, from_at, coalesce(until_at, exchequer_now()) AS over_at FROM compute_devicepresence
      WHERE schedulable AND NOT serves AND from_at < %(end)s
        AND (until_at IS NULL OR until_at > date_trunc('hour', %(start)s))) p
CROSS JOIN LATERAL generate_series(date_trunc('hour', greatest(p.from_at, %(start)s)), least(p.over_at, %(end)s), '1 hour') AS s(hour)
WHERE s.hour < %(end)s AND s.hour < p.over_at
GROUP BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class DeviceSeconds:
    """Device seconds of one group."""

    group: dict[str, str]
    capacity_s: float
    allocated_s: float
    used_s: float
    held_s: float

    @property
    def idle_s(self) -> float:
        """Allocated and not busy."""
        return self.allocated_s - self.used_s

    @property
    def free_s(self) -> float:
        """Neither allocated nor held."""
        return self.capacity_s - self.allocated_s - self.held_s


@dataclass(frozen=True, kw_only=True)
class Utilisation(DeviceSeconds):
    """The same, and the cost of the allocated, used and idle part at the jobs' own prices, restated in today's currency.

    `energy_kwh`: that of the devices while jobs ran on them, None if none of them measures its power.
    """

    allocated_cost: Money
    used_cost: Money
    energy_kwh: float | None

    @property
    def idle_cost(self) -> Money:
        """The cost of the idle seconds."""
        return self.allocated_cost - self.used_cost


def utilisation(
    start: datetime, end: datetime, group_by: Sequence[str] = ("hour", "device_class")
) -> list[Utilisation]:
    """Return device seconds over whole UTC hours from `start` to `end`, one row per group, in the groups' order.

    Capacity belongs to hours and classes; grouped by device or project it equals the group's own seconds. Raises
    Invalid for an unknown group, an empty span, or one of more than 92 days.
    """
    _check(start, end, group_by, GROUPS)
    with connection.cursor() as cursor:
        cursor.execute(_ALLOCATED, {"start": start, "end": end, "tenant": current_tenant_id()})
        rows = cursor.fetchall()
    sums: dict[tuple[str, ...], dict[str, Any]] = defaultdict(
        lambda: dict.fromkeys(("capacity", "allocated", "held", "used"), 0.0) | _no_cost()
    )
    unnamed = unnamed_projects() if "project" in group_by else None
    hidden = set() if unnamed is None else set(unnamed.values_list("slug", flat=True))
    at = tenant_today()
    for hour, device_class, device, project, price, paid_in, allocated, held, used, energy in rows:
        words = {"hour": hour.isoformat(), "device_class": device_class, "device": device}
        words["project"] = WITHHELD if project in hidden else project
        total = sums[tuple(words[name] for name in group_by)]
        total["allocated"] += float(allocated)
        total["held"] += float(held)
        total["used"] += float(used)
        if energy is not None:
            total["energy"] = (total["energy"] or 0.0) + energy
        second = at.currencies.restated(price, paid_in, at.currency)
        total["cost"] += second * Decimal(str(allocated))
        total["busy_cost"] += second * Decimal(str(used))
    if set(group_by) <= {"hour", "device_class"}:
        for hour, name, seconds in _offered(start, end):
            words = {"hour": hour.isoformat(), "device_class": name}
            sums[tuple(words[group] for group in group_by)]["capacity"] += seconds
    return [_row(dict(zip(group_by, key, strict=True)), sums[key], at.currency) for key in sorted(sums)]


def across_tenants(
    start: datetime, end: datetime, group_by: Sequence[str] = ("device_class", "tenant")
) -> list[DeviceSeconds]:
    """Return device seconds of all tenants (console), as `utilisation` does those of one.

    Capacity is the time in which devices were there and took work, or ran it; grouped by tenant it equals the tenant's own
    seconds. Raises Invalid.
    """
    _check(start, end, group_by, ACROSS)
    rows, there = hours_of_all(start, end, capacity="tenant" not in group_by)
    sums: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * 4)
    for hour, device_class, tenant, allocated, held, used in rows:
        words = {"hour": hour.isoformat(), "device_class": device_class, "tenant": str(tenant)}
        total = sums[tuple(words[name] for name in group_by)]
        for place, seconds in enumerate((allocated, held, used), 1):
            total[place] += seconds
    for hour, device_class, seconds in there:
        words = {"hour": hour.isoformat(), "device_class": device_class}
        sums[tuple(words[name] for name in group_by)][0] += seconds
    return [
        DeviceSeconds(
            group=dict(zip(group_by, key, strict=True)),
            capacity_s=max(capacity, allocated + held),
            allocated_s=allocated,
            used_s=used,
            held_s=held,
        )
        for key, (capacity, allocated, held, used) in sorted(sums.items())
    ]


def hours_of_all(
    start: datetime, end: datetime, *, capacity: bool = True
) -> tuple[list[tuple[datetime, str, UUID, float, float, float]], list[tuple[datetime, str, float]]]:
    """Return what organisations had by hour, class and organisation (allocated, held, used), and the capacity by hour and class.

    In seconds; without `capacity`, none of it. Console.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM compute_device_hours(%s, %s)", [start, end])
        rows = cursor.fetchall()
        if not capacity:
            return rows, []
        cursor.execute("SELECT * FROM compute_device_capacity(%s, %s)", [start, end])
        return rows, cursor.fetchall()


def _check(start: datetime, end: datetime, group_by: Sequence[str], groups: Sequence[str]) -> None:
    """Raise `Invalid` for an unknown group, or for an empty or too long span."""
    if not group_by or set(group_by) - set(groups):
        raise Invalid(fields={"group_by": [f"Choose among {', '.join(groups)}."]})
    if not 0 < (end - start).total_seconds() / 3600 <= MOST_HOURS:
        raise Invalid(fields={"from": ["Use a span of more than nothing and at most 92 days."]})


def _no_cost() -> dict[str, Any]:
    return {"cost": Decimal(0), "busy_cost": Decimal(0), "energy": None}


def _offered(start: datetime, end: datetime) -> list[tuple[datetime, str, float]]:
    """Return hour, class and the seconds that this tenant could have used: those of the pool, at most its quota."""
    most = {use.resource: use.effective for use in quotas.usage()}
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT, {"start": start, "end": end})
        rows = cursor.fetchall()
    found = []
    for hour, name, seconds in rows:
        limit = most.get(devices_of(name))
        found.append((hour, name, float(seconds) if limit is None else min(float(seconds), limit * 3600.0)))
    return found


def _row(group: dict[str, str], total: dict[str, Any], currency: str) -> Utilisation:
    return Utilisation(
        group=group,
        capacity_s=max(total["capacity"], total["allocated"] + total["held"]),
        allocated_s=total["allocated"],
        used_s=total["used"],
        held_s=total["held"],
        allocated_cost=Money(total["cost"], currency),
        used_cost=Money(total["busy_cost"], currency),
        energy_kwh=None if total["energy"] is None else total["energy"] / JOULES_IN_KWH,
    )
