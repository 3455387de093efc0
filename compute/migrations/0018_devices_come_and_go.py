"""Devices come and go: capacity is what was there. Samples keep power, hours energy; hours of devices count by rank and share."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.ids
from tenants.isolation.rls import GrantTable

# What is known of the past: a device was there since its node registered; the next sweep closes what is silent now.
KNOWN = """
INSERT INTO compute_devicepresence (id, device_id, device_class, serves, schedulable, from_at, until_at)
SELECT gen_random_uuid(), d.id, d.device_class, d.serves, true, n.registered_at,
       CASE WHEN d.state <> 'ready' THEN least(d.state_at, n.last_seen_at) END
FROM compute_device d JOIN compute_node n ON n.id = d.node_id
WHERE d.state = 'ready' OR least(d.state_at, n.last_seen_at) > n.registered_at;
INSERT INTO compute_devicepresence (id, device_id, device_class, serves, schedulable, from_at)
SELECT gen_random_uuid(), d.id, d.device_class, d.serves, false, d.state_at
FROM compute_device d JOIN compute_node n ON n.id = d.node_id WHERE d.state = 'cordoned' AND n.last_seen_at >= d.state_at;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
GRANT SELECT ON compute_devicepresence TO exchequer_glass;
"""

# Each rank counts on its own device, by its share. A live attempt has no end: the index of ends finds both kinds.
HOURS = """
CREATE POLICY lookup_rows ON compute_attemptmember FOR SELECT TO exchequer_owner USING (true);
CREATE OR REPLACE FUNCTION compute_device_hours(start timestamptz, until timestamptz)
RETURNS TABLE (hour timestamptz, device_class text, tenant_id uuid, allocated float8, held float8, used float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.hour, c.device_class, c.tenant_id, sum(c.allocated), sum(greatest(c.taken - c.allocated, 0)),
          sum(least(coalesce(b.used_s, 0), c.allocated))
   FROM (
       SELECT a.tenant_id, a.id, m.rank, a.device_class::text AS device_class, s.hour,
              greatest(0, extract(epoch FROM least(a.over_at, s.hour + interval '1 hour') - greatest(a.assigned_at, s.hour)) * m.share / 1000)::float8 AS taken,
              greatest(0, coalesce(extract(epoch FROM least(a.billed_until, s.hour + interval '1 hour') - greatest(a.started_at, s.hour)), 0) * m.share / 1000)::float8 AS allocated
       FROM (SELECT x.*, coalesce(x.ended_at, exchequer_now()) AS over_at, coalesce(x.measured_until, x.started_at) AS billed_until
             FROM compute_attempt x
             WHERE x.assigned_at < until AND (x.ended_at IS NULL OR x.ended_at > date_trunc('hour', start, 'UTC'))) a
       JOIN compute_attemptmember m ON m.tenant_id = a.tenant_id AND m.attempt_id = a.id
       CROSS JOIN LATERAL generate_series(date_trunc('hour', greatest(a.assigned_at, start), 'UTC'), least(a.over_at, until), '1 hour') AS s(hour)
       WHERE s.hour < until AND s.hour < a.over_at
   ) c
   LEFT JOIN compute_devicehour b ON b.tenant_id = c.tenant_id AND b.attempt_id = c.id AND b.rank = c.rank AND b.hour = c.hour
   GROUP BY 1, 2, 3 $$;
"""

# What work held is there whatever was observed: the last lease of a node that fell silent outlives its last heartbeat.
CAPACITY = """
CREATE FUNCTION compute_device_capacity(start timestamptz, until timestamptz)
RETURNS TABLE (hour timestamptz, device_class text, capacity float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH there AS (
       SELECT p.device_id, p.device_class::text AS device_class,
              tstzrange(p.from_at, greatest(p.from_at, coalesce(p.until_at, exchequer_now()))) AS span
       FROM compute_devicepresence p
       WHERE p.schedulable AND NOT p.serves AND p.from_at < until
         AND (p.until_at IS NULL OR p.until_at > date_trunc('hour', start, 'UTC'))
       UNION ALL
       SELECT m.device_id, a.device_class::text,
              tstzrange(a.assigned_at, greatest(a.assigned_at, coalesce(a.ended_at, exchequer_now())))
       FROM compute_attempt a JOIN compute_attemptmember m ON m.tenant_id = a.tenant_id AND m.attempt_id = a.id
       WHERE a.assigned_at < until AND (a.ended_at IS NULL OR a.ended_at > date_trunc('hour', start, 'UTC'))
   ),
   piece AS (
       SELECT t.device_class, lower(one) AS began, upper(one) AS over_at
       FROM (SELECT x.device_class, range_agg(x.span) AS spans FROM there x GROUP BY x.device_id, x.device_class) t
       CROSS JOIN LATERAL unnest(t.spans) AS one
   )
   SELECT s.hour, p.device_class,
          sum(extract(epoch FROM least(p.over_at, s.hour + interval '1 hour') - greatest(p.began, s.hour)))::float8
   FROM piece p
   CROSS JOIN LATERAL generate_series(date_trunc('hour', greatest(p.began, start), 'UTC'), least(p.over_at, until), '1 hour') AS s(hour)
   WHERE s.hour < until AND s.hour < p.over_at
   GROUP BY 1, 2 $$;
REVOKE ALL ON FUNCTION compute_device_capacity(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_device_capacity(timestamptz, timestamptz) TO exchequer_operator;
"""
NO_CAPACITY = """
DROP FUNCTION compute_device_capacity(timestamptz, timestamptz);
"""
NO_HOURS = """
DROP POLICY lookup_rows ON compute_attemptmember;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0017_why_jobs_wait")]

    operations = [
        migrations.AddField(model_name="devicehour", name="energy_j", field=models.FloatField(null=True)),
        migrations.AddField(model_name="devicesample", name="power_w", field=models.FloatField(null=True)),
        migrations.CreateModel(
            name="DevicePresence",
            fields=[
                (
                    "id",
                    models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("device_class", models.CharField(max_length=80)),
                ("serves", models.BooleanField()),
                ("schedulable", models.BooleanField()),
                ("from_at", models.DateTimeField()),
                ("until_at", models.DateTimeField(null=True)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="presences", to="compute.device"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["until_at"], name="compute_presence_ended")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("until_at", None)), fields=("device",), name="compute_presence_one_open"
                    ),
                    models.UniqueConstraint(fields=("device", "from_at"), name="compute_presence_once"),
                    models.CheckConstraint(
                        condition=models.Q(("until_at", None), ("until_at__gt", models.F("from_at")), _connector="OR"),
                        name="compute_presence_span",
                    ),
                ],
            },
        ),
        GrantTable("DevicePresence", app="SELECT, INSERT, UPDATE, DELETE", control="SELECT, INSERT, UPDATE, DELETE"),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.RunSQL(HOURS, NO_HOURS),
        migrations.RunSQL(CAPACITY, NO_CAPACITY),
    ]
