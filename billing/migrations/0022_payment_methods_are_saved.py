"""The payment methods that a tenant saved at the provider, as they were read last; its people change them."""

from django.db import migrations, models

from tenants.isolation.rls import APP

RIGHTS = f"""
GRANT INSERT, UPDATE (external_id, name, email, first_at, autopay, methods, look_at) ON billing_paymentaccount TO {APP};
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0021_invoices_are_reminded_of"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentaccount",
            name="methods",
            field=models.JSONField(db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="paymentaccount",
            name="look_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.RunSQL(RIGHTS, migrations.RunSQL.noop),
    ]
