from django.db import migrations

# An operator who looks inside reads seconds, not amounts, nor the price that would give them.
COLUMNS = """
REVOKE SELECT ON billing_usagerollup FROM exchequer_glass;
GRANT SELECT (id, tenant_id, period, day, hour, meter_id, project_id, series_hash, events, measured, billable)
  ON billing_usagerollup TO exchequer_glass;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_showback_prices")]

    operations = [migrations.RunSQL(COLUMNS, migrations.RunSQL.noop)]
