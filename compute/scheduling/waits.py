"""Why each job waits, and when it is expected to start: read from the policy at each sweep, and kept with the job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from compute.policy import Scope, Wait, Work, decide_and_explain
from compute.scheduling.assign import ready_devices
from compute.scheduling.works import rooms_of, works_now
from compute.simulation.forecast import expected_starts
from tenants.clock import now
from tenants.isolation.scoping import all_tenants

#: A forecast that moved by less than this is not worth a write.
STEADY_S = 30

LEFT = """
SELECT id, CASE WHEN measured_s < typical_s THEN typical_s - measured_s
                ELSE greatest(coalesce((forecast->>'most_s')::float8, 0) - measured_s, measured_s / 10) END::float8
FROM compute_job WHERE id = ANY(%s)
"""
# Jobs that somebody changes at this moment are left to the next sweep: nobody waits for a lock here.
NOTE = """
UPDATE compute_job j SET wait_reason = changed.why, expected_start_at = changed.starts,
    first_expected_at = coalesce(j.first_expected_at, changed.starts)
FROM (
    SELECT job.id, job.tenant_id, said.why, said.starts FROM compute_job job
    JOIN jsonb_to_recordset(%(said)s) AS said (id uuid, why text, starts timestamptz) ON said.id = job.id
    WHERE job.state = 'queued' AND (job.wait_reason <> said.why
        OR abs(extract(epoch FROM job.expected_start_at - said.starts)) > %(steady)s
        OR (job.expected_start_at IS NULL) <> (said.starts IS NULL))
    FOR NO KEY UPDATE OF job SKIP LOCKED
) changed WHERE j.tenant_id = changed.tenant_id AND j.id = changed.id
"""


def explain_all(past: Mapping[Scope, float]) -> int:
    """Keep with each waiting job why it waits and when it is expected to start; return how many of them changed.

    `past`: what each scope held of late. Jobs far behind in a long queue have no reason of their own yet: they wait for those before them.
    """
    devices = ready_devices()
    with transaction.atomic(), all_tenants("the policy weighs all who wait"):
        works = works_now({device.device_class for device in devices}, len(devices)) if devices else []
        if all(work.held for work in works):
            return 0
        present, rooms = now(), rooms_of(works, past)
        _, waits = decide_and_explain(works, devices, rooms, present)
        starts = expected_starts(works, devices, rooms, present, _left(works))
        return _note(waits, {job_id: present + timedelta(seconds=seconds) for job_id, seconds in starts.items()})


def _left(works: Iterable[Work]) -> dict[UUID, float]:
    """Return the seconds that each job is expected to run yet; beyond its forecast, a tenth of what it took so far."""
    with connection.cursor() as cursor:
        cursor.execute(LEFT, [[work.job_id for work in works]])
        return dict(cursor.fetchall())


def _note(waits: Sequence[Wait], starts: Mapping[Any, datetime]) -> int:
    said = [
        {
            "id": str(one.work.job_id),
            "why": one.why,
            "starts": starts[one.work.job_id].isoformat() if one.work.job_id in starts else None,
        }
        for one in waits
    ]
    with connection.cursor() as cursor:
        cursor.execute(NOTE, {"said": json.dumps(said), "steady": STEADY_S})
        return int(cursor.rowcount)
