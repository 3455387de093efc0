from django.db import migrations

# The console shows the fleet and cordons devices; it does not see whose work one runs.
FLEET = """
GRANT SELECT ON compute_node TO exchequer_operator;
GRANT SELECT, UPDATE ON compute_device TO exchequer_operator;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0006_jobs_wait_for_quotas"), ("tenants", "0013_operators_have_a_side")]

    operations = [migrations.RunSQL(FLEET, "REVOKE ALL ON compute_node, compute_device FROM exchequer_operator;")]
