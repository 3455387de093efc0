from django.db import migrations, models

COLUMN = "GRANT UPDATE (reason_before) ON tenants_tenant TO exchequer_operator;"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0036_looks_end_with_access")]

    operations = [
        migrations.AddField("tenant", "reason_before", models.TextField(blank=True, default="", db_default="")),
        migrations.RunSQL(COLUMN, migrations.RunSQL.noop),
    ]
