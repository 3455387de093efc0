"""Samples of a device while an attempt held it: each sample once, and hourly sums of the stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from django.db import connection

from compute.leases.messages import Sample
from compute.models import Attempt
from tenants.isolation.scoping import current_tenant_id

# One statement: samples that a repeated batch does not store add nothing to the hour. Time whose use nobody measured counts
# as used, so that no page says that somebody wasted it.
STORE = """
WITH stored AS (
    INSERT INTO compute_devicesample (id, tenant_id, attempt_id, job_id, device_id, number, seconds, busy, memory_bytes, power_w)
    SELECT s.id, %(tenant)s, %(attempt)s, %(job)s, m.device_id, s.number, s.seconds, s.busy, s.memory_bytes, s.power_w
    FROM unnest(%(ids)s::uuid[], %(ranks)s::int[], %(numbers)s::bigint[], %(seconds)s::float8[], %(busy)s::float8[],
                %(memory)s::bigint[], %(power)s::float8[]) AS s (id, rank, number, seconds, busy, memory_bytes, power_w)
    JOIN compute_attemptmember m ON m.tenant_id = %(tenant)s AND m.attempt_id = %(attempt)s AND m.rank = s.rank
    ON CONFLICT DO NOTHING
    RETURNING device_id, date_trunc('hour', at, 'UTC') AS hour, seconds, busy, memory_bytes, power_w
)
INSERT INTO compute_devicehour AS kept (id, tenant_id, attempt_id, rank, hour, sampled_s, used_s, peak_memory_bytes, energy_j)
SELECT gen_random_uuid(), %(tenant)s, %(attempt)s, m.rank, hour, sum(seconds), sum(seconds * coalesce(busy, 1)), max(memory_bytes),
       sum(seconds * power_w)
FROM stored JOIN compute_attemptmember m ON m.tenant_id = %(tenant)s AND m.attempt_id = %(attempt)s AND m.device_id = stored.device_id
GROUP BY m.rank, hour
ON CONFLICT (tenant_id, attempt_id, rank, hour) DO UPDATE SET
    sampled_s = kept.sampled_s + excluded.sampled_s, used_s = kept.used_s + excluded.used_s,
    peak_memory_bytes = greatest(kept.peak_memory_bytes, excluded.peak_memory_bytes),
    energy_j = CASE WHEN kept.energy_j IS NULL THEN excluded.energy_j ELSE kept.energy_j + coalesce(excluded.energy_j, 0) END
"""


def store(job_id: UUID, attempt: Attempt, samples: Sequence[Sample]) -> None:
    """Store samples of a live attempt in the open scope; a repeated batch is stored once."""
    if not samples:
        return
    columns: dict[str, Any] = {
        "ids": [uuid4() for _ in samples],
        "ranks": [one.rank for one in samples],
        "numbers": [one.number for one in samples],
        "seconds": [one.seconds for one in samples],
        "busy": [one.busy for one in samples],
        "memory": [one.memory_bytes for one in samples],
        "power": [one.power_w for one in samples],
    }
    whose = {"tenant": current_tenant_id(), "attempt": attempt.id, "job": job_id}
    with connection.cursor() as cursor:
        cursor.execute(STORE, {**columns, **whose})
