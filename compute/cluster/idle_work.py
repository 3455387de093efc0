"""Idle work of all organisations (console): whose it is, and the money that is lost. No name of a job, a project or a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.money import Money
from compute.queries.capacity import class_title
from tenants.clock import now
from tenants.models import Tenant
from tenants.operators.attention import Matter

MOST = 200
PAGE = "operator-idle"
RANKED = """
SELECT tenant_id, job_id, device_class, devices, idle_since, stops_at, snoozes, second_amount, currency FROM compute_idle_work()
ORDER BY currency, extract(epoch FROM exchequer_now() - idle_since) * second_amount DESC, job_id
LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class IdleWork:
    """Idle work of an organisation, by its short name and name. `lost`: what its devices cost the organisation since `idle_since`.

    `per_hour` is lost in each further hour. At `stops_at` it stops, unless it works again; that was put off `snoozes` times.
    """

    organisation: str
    name: str
    job_id: UUID
    device_class: str
    devices: int
    idle_since: datetime
    stops_at: datetime
    snoozes: int
    lost: Money
    per_hour: Money

    @property
    def class_title(self) -> str:
        """The class as pages write it."""
        return class_title(self.device_class)


def idle_of_all() -> list[IdleWork]:
    """Return the idle work of all organisations, most money lost first, one currency after the other: two statements."""
    with connection.cursor() as cursor:
        cursor.execute(RANKED, [MOST])
        rows = cursor.fetchall()
    tenants = {row.id: row for row in Tenant.objects.filter(id__in={row[0] for row in rows})}
    at = now()
    return [
        IdleWork(
            organisation=tenants[tenant_id].slug,
            name=tenants[tenant_id].name,
            job_id=job_id,
            device_class=device_class,
            devices=devices,
            idle_since=since,
            stops_at=stops,
            snoozes=snoozes,
            lost=Money(amount * Decimal(max(0, int((at - since).total_seconds()))), currency),
            per_hour=Money(amount * 3_600, currency),
        )
        for tenant_id, job_id, device_class, devices, since, stops, snoozes, amount, currency in rows
    ]


def idle_number() -> int:
    """Return how much work is idle now: one statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM compute_idle_work()")
        return int(cursor.fetchone()[0])


def idle_matter() -> list[Matter]:
    """Return the same for the console's home page."""
    return [Matter(text="Idle jobs that hold devices", number=idle_number(), page=PAGE)]
