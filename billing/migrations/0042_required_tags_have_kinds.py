from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0041_attempts_share_transactions")]

    operations = [
        migrations.AddField(
            model_name="requiredtag", name="kinds", field=models.JSONField(db_default=[], default=list)
        ),
    ]
