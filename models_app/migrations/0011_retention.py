"""The control role removes what has long ended; nobody else does."""

from django.db import migrations

GRANT = "GRANT DELETE ON models_app_endpointkey, models_app_servingslice TO exchequer_control"
REVOKE = "REVOKE DELETE ON models_app_endpointkey, models_app_servingslice FROM exchequer_control"


class Migration(migrations.Migration):
    dependencies = [("models_app", "0010_requests_name_the_person")]

    operations = [migrations.RunSQL(GRANT, REVOKE)]
