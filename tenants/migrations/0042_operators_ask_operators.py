from django.db import migrations

# The console stores what an operator asks of another; it asks nothing in the name of a tenant.
ASKS = """
CREATE POLICY operator_asks ON tenants_approval FOR INSERT TO exchequer_operator
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid) AND side = 'operators'
              AND kind = 'invoice' AND state = 'open');
GRANT INSERT ON tenants_approval TO exchequer_operator;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [migrations.RunSQL(ASKS, migrations.RunSQL.noop)]
