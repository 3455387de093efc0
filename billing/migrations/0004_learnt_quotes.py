"""What a quote says of the range that most bills lie in, and the run time that it was priced for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0003_budget_alerts"),
    ]

    operations = [
        migrations.AddField(
            model_name="quote",
            name="forecast",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="quote",
            name="least",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="quote",
            name="limit_s",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="quote",
            name="most",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
    ]
