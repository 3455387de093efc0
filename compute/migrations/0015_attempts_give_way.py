"""Attempts on borrowed devices give way: which they are, and how one that was asked to stop will end."""

from typing import ClassVar

from django.db import migrations, models

OUTCOMES = [
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
    ("preempted", "Preempted"),
    ("reclaimed", "Reclaimed"),
    ("idle", "Idle"),
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("compute", "0014_slots_are_found_by_their_subject")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="attempt", name="borrowed", field=models.BooleanField(db_default=False, default=False)
        ),
        migrations.AddField(
            model_name="attempt",
            name="stops_as",
            field=models.CharField(blank=True, choices=OUTCOMES, db_default="", default="", max_length=10),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="outcome",
            field=models.CharField(blank=True, choices=OUTCOMES, default="", max_length=10),
        ),
    ]
