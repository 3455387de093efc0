"""An operator who looks inside an organisation sees a job's page, with the use of its devices."""

from django.db import migrations

from tenants.isolation.rls import glass_sql


class Migration(migrations.Migration):
    dependencies = [("compute", "0019_operators_simulate_quotas")]

    operations = [migrations.RunSQL(glass_sql("compute_devicesample"), migrations.RunSQL.noop)]
