from django.db import migrations

# least() and greatest() pass over NULL: an attempt that never started counted as allocated for every hour it touched.
# Its allocation begins and ends at its assignment, so that all of it is held.
HOURS = """
CREATE OR REPLACE FUNCTION compute_device_hours(start timestamptz, until timestamptz)
RETURNS TABLE (hour timestamptz, device_class text, tenant_id uuid, allocated float8, held float8, used float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.hour, c.device_class, c.tenant_id, sum(c.allocated), sum(greatest(c.taken - c.allocated, 0)),
          sum(least(coalesce(b.used_s, 0), c.allocated))
   FROM (
       SELECT a.tenant_id, a.id, m.rank, a.device_class::text AS device_class, s.hour,
              greatest(0, extract(epoch FROM least(a.over_at, s.hour + interval '1 hour') - greatest(a.assigned_at, s.hour)) * m.share / 1000)::float8 AS taken,
              greatest(0, extract(epoch FROM least(a.billed_until, s.hour + interval '1 hour') - greatest(a.billed_from, s.hour)) * m.share / 1000)::float8 AS allocated
       FROM (SELECT x.*, coalesce(x.ended_at, exchequer_now()) AS over_at, coalesce(x.started_at, x.assigned_at) AS billed_from,
                    coalesce(x.measured_until, x.started_at, x.assigned_at) AS billed_until
             FROM compute_attempt x
             WHERE x.assigned_at < until AND (x.ended_at IS NULL OR x.ended_at > date_trunc('hour', start, 'UTC'))) a
       JOIN compute_attemptmember m ON m.tenant_id = a.tenant_id AND m.attempt_id = a.id
       CROSS JOIN LATERAL generate_series(date_trunc('hour', greatest(a.assigned_at, start), 'UTC'), least(a.over_at, until), '1 hour') AS s(hour)
       WHERE s.hour < until AND s.hour < a.over_at
   ) c
   LEFT JOIN compute_devicehour b ON b.tenant_id = c.tenant_id AND b.attempt_id = c.id AND b.rank = c.rank AND b.hour = c.hour
   GROUP BY 1, 2, 3 $$;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0048_idle_work_of_all")]

    operations = [migrations.RunSQL(HOURS, migrations.RunSQL.noop)]
