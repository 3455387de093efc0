"""Intervals in which devices were in the pool, so that the capacity of the past is what was there then.

An interval opens when a device's node registers it or sends a heartbeat again. It closes when the host no longer shows
the device, when it is cordoned or returned (the next one then follows at once), and at its node's last heartbeat once
the node left or fell silent. Nodes observe this of their own devices when they register, the controller of all with
every sweep; a change that was undone between two sweeps is not seen.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from compute.queries.capacity import seen_since

CLOSE = """
UPDATE compute_devicepresence p SET until_at = was.ended_at
FROM (
    SELECT o.id, CASE WHEN n.last_seen_at <= %(seen)s AND d.state <> 'gone' THEN n.last_seen_at
                      WHEN d.state = 'gone' OR o.schedulable <> (d.state = 'ready') THEN d.state_at
                      ELSE n.last_seen_at END AS ended_at
    FROM compute_devicepresence o JOIN compute_device d ON d.id = o.device_id JOIN compute_node n ON n.id = d.node_id
    WHERE o.until_at IS NULL AND (
        d.state = 'gone' OR n.last_seen_at <= %(seen)s
        OR (o.device_class, o.serves, o.schedulable) IS DISTINCT FROM (d.device_class, d.serves, d.state = 'ready'))
) was
WHERE p.id = was.id AND p.until_at IS NULL AND was.ended_at > p.from_at RETURNING p.device_id, p.until_at
"""
# What began after the end that was just found was never there: a device that was cordoned before its first heartbeat.
DROP = """
DELETE FROM compute_devicepresence p USING compute_device d, compute_node n
WHERE p.until_at IS NULL AND d.id = p.device_id AND n.id = d.node_id AND (
    d.state = 'gone' OR n.last_seen_at <= %(seen)s
    OR (p.device_class, p.serves, p.schedulable) IS DISTINCT FROM (d.device_class, d.serves, d.state = 'ready'))
RETURNING p.device_id, p.from_at
"""
OPEN = """
INSERT INTO compute_devicepresence (id, device_id, device_class, serves, schedulable, from_at)
SELECT gen_random_uuid(), d.id, d.device_class, d.serves, d.state = 'ready',
       coalesce(went_on.at, greatest(n.last_seen_at, past.until_at))
FROM compute_device d JOIN compute_node n ON n.id = d.node_id
LEFT JOIN LATERAL (SELECT max(until_at) AS until_at FROM compute_devicepresence WHERE device_id = d.id) past ON true
LEFT JOIN unnest(%(devices)s::uuid[], %(moments)s::timestamptz[]) AS went_on (device_id, at) ON went_on.device_id = d.id
WHERE d.state <> 'gone' AND n.last_seen_at > %(seen)s AND n.id = coalesce(exchequer_node(), n.id)
  AND NOT EXISTS (SELECT FROM compute_devicepresence o WHERE o.device_id = d.id AND o.until_at IS NULL)
ON CONFLICT DO NOTHING
"""


def observe() -> int:
    """Close and open intervals as the tables of nodes and devices say now; return how many changed."""
    seen = seen_since()
    ended: dict[UUID, datetime] = {}
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (CLOSE, DROP):
            cursor.execute(statement, {"seen": seen})
            ended |= dict(cursor.fetchall())
        cursor.execute(OPEN, {"seen": seen, "devices": list(ended), "moments": list(ended.values())})
        return len(ended) + int(cursor.rowcount)
