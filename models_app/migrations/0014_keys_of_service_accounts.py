from django.db import migrations, models

from tenants.isolation import rls
from tenants.isolation.scoping import TenantForeignKey


class Migration(migrations.Migration):
    dependencies = [("models_app", "0013_files_written"), ("tenants", "0010_rights_are_rows")]

    operations = [
        migrations.AddField(
            "endpointkey",
            "service_account",
            TenantForeignKey(null=True, on_delete=models.PROTECT, related_name="+", to="tenants.serviceaccount"),
        ),
        migrations.RunSQL(
            rls.composite_key_sql("models_app_endpointkey", "service_account_id", "tenants_serviceaccount"),
            migrations.RunSQL.noop,
        ),
    ]
