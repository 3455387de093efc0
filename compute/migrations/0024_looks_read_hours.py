"""An operator who looks inside an organisation sees how a job used its devices."""

from django.db import migrations

from tenants.isolation.rls import glass_sql


class Migration(migrations.Migration):
    dependencies = [("compute", "0023_idle_devices")]

    operations = [migrations.RunSQL(glass_sql("compute_devicehour"), migrations.RunSQL.noop)]
