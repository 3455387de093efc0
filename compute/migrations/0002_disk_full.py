"""An attempt may end as `disk_full`: only the choices change, the table stays as it is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="attempt",
            name="outcome",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "None"),
                    ("succeeded", "Succeeded"),
                    ("crashed", "Crashed"),
                    ("unstaged", "Unstaged"),
                    ("killed", "Killed"),
                    ("lost", "Lost"),
                    ("stopped", "Stopped"),
                    ("cancelled", "Cancelled"),
                    ("paused", "Paused"),
                    ("budget", "Budget"),
                    ("user_error", "User Error"),
                    ("platform", "Platform"),
                    ("time_limit", "Time Limit"),
                    ("cost_limit", "Cost Limit"),
                    ("artifact", "Artifact"),
                    ("disk_full", "Disk Full"),
                ],
                default="",
                max_length=10,
            ),
        ),
    ]
