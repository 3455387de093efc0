"""The control role removes alerts that are long over; nobody else does."""

from django.db import migrations

GRANT = "GRANT DELETE ON models_app_healthalert TO exchequer_control"
REVOKE = "REVOKE DELETE ON models_app_healthalert FROM exchequer_control"


class Migration(migrations.Migration):
    dependencies = [("models_app", "0011_retention")]

    operations = [migrations.RunSQL(GRANT, REVOKE)]
