"""Peaks of one job's devices, their energy, and the advice that follows."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from compute.jobs.visibility import visible_jobs
from compute.policy.right_size import RankUse, advise
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id

JOULES_IN_KWH = 3_600_000

# A rank may have run on several devices; it is measured against the smallest, and by its share of it.
USE = """
SELECT h.rank, sum(h.sampled_s), sum(h.used_s * 1000 / m.share), max(h.peak_memory_bytes), min(d.memory_bytes * m.share / 1000), sum(h.energy_j)
FROM compute_attempt a
JOIN compute_devicehour h ON h.tenant_id = a.tenant_id AND h.attempt_id = a.id
JOIN compute_attemptmember m ON m.tenant_id = a.tenant_id AND m.attempt_id = a.id AND m.rank = h.rank
JOIN compute_device d ON d.id = m.device_id
WHERE a.tenant_id = %s AND a.job_id = %s
GROUP BY h.rank ORDER BY h.rank
"""


@dataclass(frozen=True, kw_only=True)
class JobUse:
    """How a job used its devices so far. `energy_kwh`: None if none of them measures its power; `advice`: sentences."""

    ranks: tuple[RankUse, ...]
    energy_kwh: float | None
    advice: tuple[str, ...]


def job_use(job_id: UUID) -> JobUse:
    """Return the use of a job's devices by rank, and advice on their number and size. Raises NotFound."""
    if not visible_jobs().filter(id=job_id).exists():
        raise NotFound
    with connection.cursor() as cursor:
        cursor.execute(USE, [current_tenant_id(), job_id])
        names = ("rank", "sampled_s", "used_s", "peak_memory_bytes", "memory_bytes", "energy_j")
        ranks = tuple(RankUse(**dict(zip(names, row, strict=True))) for row in cursor.fetchall())
    measured = [one.energy_j for one in ranks if one.energy_j is not None]
    return JobUse(
        ranks=ranks,
        energy_kwh=sum(measured) / JOULES_IN_KWH if measured else None,
        advice=tuple(advise(ranks)),
    )
