from django.db import migrations

from tenants.isolation import rls

# What an operator reads who looks inside a tenant: its jobs, and the platform's devices.
READ = """
GRANT SELECT ON compute_device, compute_node TO exchequer_glass;
""" + rls.glass_sql(
    "compute_allocation",
    "compute_attempt",
    "compute_job",
    "compute_jobgrouppermission",
    "compute_joblog",
    "compute_jobmetric",
    "compute_jobuserpermission",
)


class Migration(migrations.Migration):
    dependencies = [("compute", "0008_jobs_are_shared"), ("tenants", "0027_break_glass")]

    operations = [migrations.RunSQL(READ)]
