"""The table of periodic schedules' ticks."""

from typing import ClassVar

from django.db import models

from tenants.clock import DatabaseNow


class ScheduleTick(models.Model):
    """One firing of one periodic schedule; the constraint makes it unique, whichever controller leads."""

    schedule = models.CharField(max_length=120)
    tick = models.DateTimeField()
    fired_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["schedule", "tick"], name="compute_tick_once")]

    def __str__(self) -> str:
        return f"{self.schedule} at {self.tick:%Y-%m-%d %H:%M:%S}"
