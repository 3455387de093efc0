"""The control role removes the counts of days that are long over; nobody else does."""

from django.db import migrations

GRANT = "GRANT DELETE ON billing_senderday TO exchequer_control"
REVOKE = "REVOKE DELETE ON billing_senderday FROM exchequer_control"


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_usage_from_outside_guards")]

    operations = [migrations.RunSQL(GRANT, REVOKE)]
