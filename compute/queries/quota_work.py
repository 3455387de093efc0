"""Jobs that use devices or wait for them, by the scopes of quotas: for the page of quotas and its previews."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection

from compute.jobs import job_quotas
from compute.jobs.visibility import visible_jobs
from compute.models import JobState
from tenants.isolation.scoping import current_tenant_id
from tenants.quotas import Amount, Named, Scope

NAMED = 5
_QUEUED = """
SELECT device_class, project_id, person, sum(devices * share) FROM compute_job WHERE tenant_id = %s AND state = 'queued'
GROUP BY GROUPING SETS ((device_class), (device_class, project_id), (device_class, person))
HAVING GROUPING(project_id) = 0 OR GROUPING(person) = 1 OR person IS NOT NULL
"""


class Jobs:
    """Jobs, in the interface of `tenants.quotas.effects`."""

    def queued(self) -> Mapping[tuple[str, Scope], Amount]:
        """Return for how many devices jobs wait, parts of one included, by resource and scope."""
        with connection.cursor() as cursor:
            cursor.execute(_QUEUED, [current_tenant_id()])
            rows = cursor.fetchall()
        return {
            (job_quotas.devices(kind), Scope(project, person)): job_quotas.at_once(thousandths)
            for kind, project, person, thousandths in rows
        }

    def named(self, resource: str, scope: Scope) -> Named | None:
        """Return the running and the queued jobs of a scope on a class of devices, oldest first."""
        device_class = resource.removeprefix(job_quotas.devices(""))
        if device_class == resource:
            return None
        jobs = visible_jobs().filter(device_class=device_class).order_by("queued_at", "id")
        if scope.project_id:
            jobs = jobs.filter(project_id=scope.project_id)
        if scope.person:
            jobs = jobs.filter(person=scope.person)
        running, queued = (jobs.filter(state=state) for state in (JobState.RUNNING, JobState.QUEUED))
        return Named(
            tuple(running.values_list("name", flat=True)[:NAMED]),
            tuple(queued.values_list("name", flat=True)[:NAMED]),
            running.count(),
            queued.count(),
        )
