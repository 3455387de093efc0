from django.db import migrations

# The console sees how much of the fleet each organisation had, in sums: no job, project or device is named.
HOURS = """
CREATE POLICY lookup_rows ON compute_attempt FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON compute_devicehour FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION compute_device_hours(start timestamptz, until timestamptz)
RETURNS TABLE (hour timestamptz, device_class text, tenant_id uuid, allocated float8, held float8, used float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.hour, c.device_class, c.tenant_id, sum(c.allocated), sum(greatest(c.taken - c.allocated, 0)),
          sum(least(coalesce(b.used_s, 0), c.allocated))
   FROM (
       SELECT a.tenant_id, a.id, a.device_class::text AS device_class, s.hour,
              greatest(0, extract(epoch FROM least(a.over_at, s.hour + interval '1 hour') - greatest(a.assigned_at, s.hour)))::float8 AS taken,
              greatest(0, coalesce(extract(epoch FROM least(a.billed_until, s.hour + interval '1 hour') - greatest(a.started_at, s.hour)), 0))::float8 AS allocated
       FROM (SELECT x.*, coalesce(x.ended_at, exchequer_now()) AS over_at, coalesce(x.measured_until, x.started_at) AS billed_until
             FROM compute_attempt x) a
       CROSS JOIN LATERAL generate_series(date_trunc('hour', greatest(a.assigned_at, start), 'UTC'), least(a.over_at, until), '1 hour') AS s(hour)
       WHERE a.assigned_at < until AND a.over_at > date_trunc('hour', start, 'UTC') AND s.hour < until AND s.hour < a.over_at
   ) c
   LEFT JOIN compute_devicehour b ON b.tenant_id = c.tenant_id AND b.attempt_id = c.id AND b.hour = c.hour
   GROUP BY 1, 2, 3 $$;
REVOKE ALL ON FUNCTION compute_device_hours(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_device_hours(timestamptz, timestamptz) TO exchequer_operator;
"""
NONE = """
DROP FUNCTION compute_device_hours(timestamptz, timestamptz);
DROP POLICY lookup_rows ON compute_devicehour;
DROP POLICY lookup_rows ON compute_attempt;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0012_looks_read_no_amounts")]

    operations = [migrations.RunSQL(HOURS, NONE)]
