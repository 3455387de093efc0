"""Operators see the idle work of all organisations: whose it is and what it costs, and no name of its own."""

from django.db import migrations, models
from django.db.models import Q

# The share of a device is counted in thousandths.
IDLE_WORK = """
CREATE FUNCTION compute_idle_work()
RETURNS TABLE (tenant_id uuid, job_id uuid, device_class text, devices integer, idle_since timestamptz, stops_at timestamptz,
               snoozes integer, second_amount numeric, currency text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT a.tenant_id, a.job_id, a.device_class::text, j.devices::integer, a.idle_since, a.idle_stop_at, a.snoozes::integer,
          j.unit_amount * j.devices * j.share / 1000, j.currency::text
   FROM compute_attempt a JOIN compute_job j ON j.tenant_id = a.tenant_id AND j.id = a.job_id
   WHERE a.ended_at IS NULL AND a.idle_since IS NOT NULL $$;
REVOKE ALL ON FUNCTION compute_idle_work() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_idle_work() TO exchequer_operator;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0047_idle_rules")]

    operations = [
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                fields=["idle_since"],
                condition=Q(("ended_at__isnull", True), ("idle_since__isnull", False)),
                name="compute_attempt_idle",
            ),
        ),
        migrations.RunSQL(IDLE_WORK, "DROP FUNCTION compute_idle_work()"),
    ]
