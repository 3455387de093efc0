"""Whether each invoice is sent by email when it is finalised, and the console's order to send one."""

from django.db import migrations, models

from tenants.isolation.rls import OPERATOR, TENANT

MAILS = f"""
CREATE POLICY operator_mails ON tenants_outboxmessage TO {OPERATOR}
  USING (tenant_id = {TENANT} AND topic = 'billing.InvoiceSendOrdered')
  WITH CHECK (tenant_id = {TENANT} AND topic = 'billing.InvoiceSendOrdered');
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0019_wallets_hold_credit"),
    ]

    operations = [
        migrations.AddField(
            model_name="seller",
            name="sends_invoices",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.RunSQL(MAILS, migrations.RunSQL.noop),
    ]
