"""The figures of a tenant for operators: its budget, and the open alerts of its endpoints."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0044_keys_succeed_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantdigest",
            name="budget_limit",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="tenantdigest",
            name="budget_spent",
            field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38),
        ),
        migrations.AddField(
            model_name="tenantdigest",
            name="budget_period",
            field=models.CharField(blank=True, db_default="", default="", max_length=7),
        ),
        migrations.AddField(
            model_name="tenantdigest",
            name="open_alerts",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
