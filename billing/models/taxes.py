"""The seller's table of tax rates: one for each country in which it is registered, and for products with one of their own."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q

from tenants.clock import DatabaseNow
from tenants.ids import uuid7


class TaxRate(models.Model):
    """A country's rate in per cent, from the day `starts_on` until before `ends_on`.

    `product` is the key of the meter that has this rate; empty for whatever has none of its own. Triggers keep a rate
    that has begun: it takes an end, and nothing else.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    country = models.CharField(max_length=2)
    product = models.CharField(max_length=60, blank=True, default="", db_default="")
    name = models.CharField(max_length=60)
    percent = models.DecimalField(max_digits=6, decimal_places=3)
    starts_on = models.DateField()
    ends_on = models.DateField(null=True)
    entered_by = models.CharField(max_length=254)
    entered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(percent__gte=0, percent__lte=100)
                & Q(country__regex=r"^[A-Z]{2}$")
                & (Q(ends_on=None) | Q(ends_on__gt=F("starts_on"))),
                name="tax_rate_is_real",
            ),
            ExclusionConstraint(
                name="tax_rate_one_at_a_time",
                expressions=[
                    (F("country"), RangeOperators.EQUAL),
                    (F("product"), RangeOperators.EQUAL),
                    (
                        Func(F("starts_on"), F("ends_on"), function="daterange", output_field=DateRangeField()),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.country}"
