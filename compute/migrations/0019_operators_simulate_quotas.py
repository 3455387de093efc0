from django.db import migrations

# The console replays past work before a ceiling changes: whose it was, when and how long, and nothing that names it.
PAST = """
CREATE POLICY lookup_rows ON compute_job FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION compute_past_jobs(wanted text, since timestamptz, most integer)
RETURNS TABLE (tenant_id uuid, submitted_at timestamptz, seconds float8, devices integer, share integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT j.tenant_id, j.submitted_at, j.measured_s::float8, j.devices::integer, j.share::integer FROM compute_job j
   WHERE j.device_class = wanted AND j.submitted_at >= since AND j.ended_at IS NOT NULL AND j.measured_s > 0
   ORDER BY j.submitted_at DESC LIMIT most $$;
REVOKE ALL ON FUNCTION compute_past_jobs(text, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_past_jobs(text, timestamptz, integer) TO exchequer_operator;
"""
NONE = """
DROP FUNCTION compute_past_jobs(text, timestamptz, integer);
DROP POLICY lookup_rows ON compute_job;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0018_devices_come_and_go")]

    operations = [migrations.RunSQL(PAST, NONE)]
