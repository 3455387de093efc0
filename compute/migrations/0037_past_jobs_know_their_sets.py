from django.db import migrations

# Of a set that lets only so many of its jobs run at once the console's replay lets no more run either.
WITH_SETS = """
DROP FUNCTION compute_past_jobs(text, timestamptz, integer);
CREATE FUNCTION compute_past_jobs(wanted text, since timestamptz, most integer)
RETURNS TABLE (tenant_id uuid, submitted_at timestamptz, seconds float8, devices integer, share integer, set_id uuid, at_once integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT j.tenant_id, j.submitted_at, j.measured_s::float8, j.devices::integer, j.share::integer, s.id, s.most_at_once::integer
   FROM compute_job j
   LEFT JOIN compute_jobset s ON s.tenant_id = j.tenant_id AND s.id = j.set_id AND s.most_at_once IS NOT NULL
   WHERE j.device_class = wanted AND j.submitted_at >= since AND j.ended_at IS NOT NULL AND j.measured_s > 0
   ORDER BY j.submitted_at DESC LIMIT most $$;
REVOKE ALL ON FUNCTION compute_past_jobs(text, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_past_jobs(text, timestamptz, integer) TO exchequer_operator;
"""
WITHOUT = """
DROP FUNCTION compute_past_jobs(text, timestamptz, integer);
CREATE FUNCTION compute_past_jobs(wanted text, since timestamptz, most integer)
RETURNS TABLE (tenant_id uuid, submitted_at timestamptz, seconds float8, devices integer, share integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT j.tenant_id, j.submitted_at, j.measured_s::float8, j.devices::integer, j.share::integer FROM compute_job j
   WHERE j.device_class = wanted AND j.submitted_at >= since AND j.ended_at IS NOT NULL AND j.measured_s > 0
   ORDER BY j.submitted_at DESC LIMIT most $$;
REVOKE ALL ON FUNCTION compute_past_jobs(text, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_past_jobs(text, timestamptz, integer) TO exchequer_operator;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0033_nodes_are_handed_keys")]

    operations = [migrations.RunSQL(WITH_SETS, WITHOUT)]
