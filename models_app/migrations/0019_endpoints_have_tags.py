"""Endpoints have tags, which their usage carries."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0018_looks_inside"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpoint",
            name="tags",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
