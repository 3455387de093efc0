"""The console reads which meters organisations define, across all of them: a price book prices those, too."""

from django.db import migrations

from tenants.isolation.rls import OPERATOR


class Migration(migrations.Migration):
    dependencies = [("billing", "0043_usage_is_found_by_its_resource")]

    operations = [
        migrations.RunSQL(
            f"CREATE POLICY operator_rows ON billing_meter FOR SELECT TO {OPERATOR} USING (true);",
            "DROP POLICY operator_rows ON billing_meter;",
        ),
    ]
