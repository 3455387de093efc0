"""The control role removes what has long ended; nobody else does."""

from django.db import migrations

GRANT = "GRANT DELETE ON tenants_invitation, tenants_apikey TO exchequer_control"
REVOKE = "REVOKE DELETE ON tenants_invitation, tenants_apikey FROM exchequer_control"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_operators_are_guarded")]

    operations = [migrations.RunSQL(GRANT, REVOKE)]
