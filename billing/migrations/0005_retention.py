"""The control role removes promises that are long over; nobody else does."""

from django.db import migrations

GRANT = "GRANT DELETE ON billing_quote, billing_hold, billing_holdshare TO exchequer_control"
REVOKE = "REVOKE DELETE ON billing_quote, billing_hold, billing_holdshare FROM exchequer_control"


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_learnt_quotes")]

    operations = [migrations.RunSQL(GRANT, REVOKE)]
