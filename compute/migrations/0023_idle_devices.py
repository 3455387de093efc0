"""An attempt whose devices do nothing is warned of, snoozed and stopped."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0022_capacity_wanted")]

    operations = [
        migrations.AddField(model_name="attempt", name="idle_since", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="attempt", name="idle_stop_at", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="attempt", name="snoozes", field=models.PositiveSmallIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="attempt",
            name="snooze_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
    ]
