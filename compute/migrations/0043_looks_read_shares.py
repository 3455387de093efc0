"""An operator who looks inside a tenant sees for which shares classes of devices are open, as its members do."""

from django.db import migrations

READ = "GRANT SELECT (device_class, parts) ON compute_sharedclass TO exchequer_glass"


class Migration(migrations.Migration):
    dependencies = [("compute", "0042_nodes_have_labels")]

    operations = [migrations.RunSQL(READ, migrations.RunSQL.noop)]
