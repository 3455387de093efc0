"""The figures of a tenant for operators: the month before up to the same day, and its currency."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0049_jobs_follow_their_line"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenantdigest",
            name="spend_before",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="tenantdigest",
            name="currency_before",
            field=models.CharField(blank=True, db_default="", default="", max_length=3),
        ),
    ]
