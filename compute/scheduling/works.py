"""The jobs that wait or run, and the limits that bind them, as the policy reads them: over all tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connection

from compute import policy
from compute.jobs import job_quotas
from compute.policy import Room, Scope, Work
from tenants import quotas
from tenants.rows import named_rows

# Of jobs that differ in nothing that the policy may pass one for (too wide for the guaranteed part, spot, a full limit), only
# so many can start as devices are there; of any others all are read, or one that could start hides behind those that cannot.
# A set that runs so many at once is a queue of its own, and keeps nobody from being weighed; what runs of it counts in every class.
_WORKS = """
WITH limited AS (
    SELECT tenant_id, id, most_at_once FROM compute_jobset s
    WHERE most_at_once IS NOT NULL AND EXISTS (
        SELECT FROM compute_job j WHERE j.tenant_id = s.tenant_id AND j.set_id = s.id AND j.state = 'queued')
)
SELECT id AS job_id, tenant_id, device_class, queued_at, not_before, project_id, person, devices, share, one_node, priority,
       ARRAY(SELECT key || '=' || value FROM jsonb_each_text(node_labels)) AS labels,
       (measured_s * devices * share / 1000)::float8 AS attained_s, tier = 'spot' AS spot, false AS borrowed, false AS stopping,
       NULL::uuid[] AS device_ids, NULL::uuid[] AS node_ids, set_id, most_at_once AS at_once FROM (
    SELECT j.*, l.most_at_once, row_number() OVER places AS place, sum(share * devices) OVER places - share * devices AS before
    FROM compute_job j LEFT JOIN limited l ON l.tenant_id = j.tenant_id AND l.id = j.set_id
    WHERE state = 'queued' AND approval_id IS NULL AND device_class = ANY(%(classes)s)
      AND (not_before IS NULL OR not_before <= (SELECT exchequer_now()))
      AND EXISTS (SELECT FROM tenants_tenant t WHERE t.id = j.tenant_id AND t.standing = 'active')
      AND NOT EXISTS (SELECT FROM compute_attempt a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.state <> 'ended')
    WINDOW places AS (
        PARTITION BY j.tenant_id, device_class, project_id, person, l.id, node_labels, tier, devices, share, one_node
        ORDER BY -priority, CASE WHEN measured_s * devices * share < 3600000 THEN 0
                                 ELSE 1 + floor(log(measured_s * devices * share / 3600000)) END, queued_at, j.id
        ROWS UNBOUNDED PRECEDING)
) first WHERE before < %(most)s * 1000 AND (most_at_once IS NULL OR place <= most_at_once)
UNION ALL
SELECT j.id, j.tenant_id, j.device_class, j.queued_at, NULL, j.project_id, j.person, j.devices, j.share, j.one_node, j.priority,
       ARRAY(SELECT key || '=' || value FROM jsonb_each_text(j.node_labels)),
       (j.measured_s * j.devices * j.share / 1000)::float8, j.tier = 'spot', a.borrowed, a.stops_as <> '', m.device_ids, m.node_ids,
       j.set_id, l.most_at_once
FROM compute_attempt a JOIN compute_job j ON j.tenant_id = a.tenant_id AND j.id = a.job_id
LEFT JOIN limited l ON l.tenant_id = j.tenant_id AND l.id = j.set_id
CROSS JOIN LATERAL (
    SELECT array_agg(device_id ORDER BY rank) AS device_ids, array_agg(node_id ORDER BY rank) AS node_ids
    FROM compute_attemptmember WHERE tenant_id = a.tenant_id AND attempt_id = a.id
) m
WHERE a.state <> 'ended' AND (j.device_class = ANY(%(classes)s) OR l.id IS NOT NULL)
"""


def works_now(classes: set[str], most: int) -> list[Work]:
    """Return the jobs of these classes that run, and of those of one kind the first that fit on `most` devices together."""
    with connection.cursor() as cursor:
        cursor.execute(_WORKS, {"classes": sorted(classes), "most": most})
        rows = named_rows(cursor)
    return [_work(**row._asdict()) for row in rows]


def _work(
    *, device_ids: list[UUID] | None, node_ids: list[UUID] | None, labels: list[str], device_class: str, **rest: Any
) -> Work:
    places = zip(device_ids or (), node_ids or (), strict=True)
    held = tuple(policy.Device(device_id, node_id, device_class) for device_id, node_id in places)
    return Work(device_class=device_class, held=held, labels=frozenset(labels), **rest)


def rooms_of(works: list[Work], past: Mapping[Scope, float]) -> dict[Scope, Room]:
    """Return the limits on devices of those who wait or run, with guaranteed parts, weights and what they held of late."""
    classes = {job_quotas.devices(work.device_class): work.device_class for work in works}
    tenants = {work.tenant_id for work in works}
    found = quotas.rooms(tenants, classes)
    rooms = {
        Scope(tenant_id, classes[resource], scope.project_id, scope.person): Room(
            room.limit, room.guaranteed or None, room.weight
        )
        for (tenant_id, resource, scope), room in found.items()
    }
    for scope, devices in past.items():
        if scope.tenant_id in tenants and (scope.project_id is None or scope in rooms):
            rooms[scope] = replace(rooms.get(scope, Room()), past=devices)
    return rooms
