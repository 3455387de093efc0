from django.db import migrations

# An operator who looks inside reads a job without its prices, its quote, its most and what it spent.
COLUMNS = """
REVOKE SELECT ON compute_job FROM exchequer_glass;
GRANT SELECT
  (id, tenant_id, name, kind, project_id, spec, device_class, devices, tier, tags, max_seconds, typical_s, family,
  work_key, nominal_s, forecast, state, cause, message, submitted_by, submitted_by_label, person, submitted_at,
  queued_at, not_before, started_at, ended_at, token, own_crashes, infrastructure_kills, progress, checkpoint,
  result, hold_id, quote_id, approval_id, currency, measured_s, cloned_from)
  ON compute_job TO exchequer_glass;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0011_ended_work_loses_names")]

    operations = [migrations.RunSQL(COLUMNS, migrations.RunSQL.noop)]
