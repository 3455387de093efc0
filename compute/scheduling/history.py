"""The devices that organisations and projects held on average of late, from their attempts: `policy.Room.past`.

It is read from what ran, not kept beside it, so nothing can drift from it; the controller reads it once a minute.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection, transaction

from compute.policy import Scope
from compute.policy.history import HALF_LIFE_S
from tenants.isolation.scoping import all_tenants

REFRESHED_S = 60.0
FORGOTTEN_S = 7 * HALF_LIFE_S
"""What ended before then counts less than a hundredth."""

# The decayed average of what was held in [s, e): the integral of the weight ln 2 / H * 2^(-age / H).
_PAST = """
SELECT j.tenant_id, a.device_class, j.project_id, sum(j.devices * j.share / 1000.0
    * (2 ^ (-extract(epoch FROM t.now - coalesce(a.ended_at, t.now)) / %(half)s)
       - 2 ^ (-extract(epoch FROM t.now - a.started_at) / %(half)s)))::float8
FROM compute_attempt a JOIN compute_job j ON j.tenant_id = a.tenant_id AND j.id = a.job_id, (SELECT exchequer_now() AS now) t
WHERE a.started_at IS NOT NULL AND (a.ended_at IS NULL OR a.ended_at > t.now - make_interval(secs => %(since)s))
GROUP BY 1, 2, 3
"""


def past_shares() -> Mapping[Scope, float]:
    """Return the devices that each organisation, and each project in it, held of each class on average of late."""
    found: dict[Scope, float] = {}
    with (
        transaction.atomic(),
        all_tenants("fair shares weigh what all held of late"),
        connection.cursor() as cursor,
    ):
        cursor.execute(_PAST, {"half": HALF_LIFE_S, "since": FORGOTTEN_S})
        for tenant_id, device_class, project_id, devices in cursor.fetchall():
            found[Scope(tenant_id, device_class, project_id=project_id)] = devices
            whole = Scope(tenant_id, device_class)
            found[whole] = found.get(whole, 0.0) + devices
    return found
