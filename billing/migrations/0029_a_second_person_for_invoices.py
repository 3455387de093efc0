"""From which amounts a second operator approves what is done to invoices."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0028_overdue_invoices_stop_launches"),
        ("tenants", "0042_operators_ask_operators"),
    ]

    operations = [
        migrations.AddField(
            model_name="seller",
            name="second_person",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="seller",
            name="second_person_from",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
