from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("models_app", "0012_alerts_go")]

    operations = [
        migrations.AddField(
            "datasetversion",
            "writing",
            models.JSONField(default=dict, db_default=models.Value({}, models.JSONField())),
        ),
    ]
