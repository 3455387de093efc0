"""The table of what runs on this installation took: sums over all tenants, of no tenant and with no ids."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from tenants.clock import DatabaseNow


class RunPrior(models.Model):
    """How long runs of a family take on a device class, against what their kind's formula says.

    Means and variances are of the logarithm: of work seconds by nominal ones, and of the seconds of a start-up. Of the
    newest `promised` runs that had a range quoted, `within` ended inside it.
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
