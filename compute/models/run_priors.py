"""The table of run times on this installation: sums over all tenants, without tenant or ids."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from tenants.clock import DatabaseNow


class RunPrior(models.Model):
    """Run times of a family on a device class, relative to the kind's formula.

    Means and variances are of the logarithm: of work seconds by nominal ones, and of start-up seconds. Of the newest
    `promised` runs with a quoted range, `within` ended inside it.
    """

    family = models.CharField(max_length=80)
    device_class = models.CharField(max_length=80)
    work_mean = models.FloatField()
    work_variance = models.FloatField()
    start_mean = models.FloatField()
    start_variance = models.FloatField()
    runs = models.PositiveIntegerField()
    within = models.PositiveIntegerField(default=0)
    promised = models.PositiveIntegerField(default=0)
    learnt_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta:
        app_label = "compute"
        constraints: ClassVar = [models.UniqueConstraint(fields=["family", "device_class"], name="compute_prior_once")]

    def __str__(self) -> str:
        return f"{self.family} on {self.device_class}"
