"""Price books: versions follow each other in time and are never edited."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.models.fields import exact
from billing.models.metering import Meter
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class PriceBook(TenantModel):
    """A tenant's list of prices in one currency."""

    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "currency"], name="price_book_once_per_currency")]

    def __str__(self) -> str:
        return self.name


class PriceVersion(TenantModel):
    """A complete list of prices from `effective_at` until the next version; triggers keep it as published.

    Only the book's first version may start at once; a later one starts at least five minutes after it is
    published, because usage is accepted up to five minutes ahead: so no accepted second changes its price.
    """

    book = TenantForeignKey(PriceBook, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    effective_at = models.DateTimeField()
    published_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    published_by = models.CharField(max_length=254)
    note = models.CharField(max_length=200, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "book", "number"], name="price_version_number_once"),
            models.UniqueConstraint(fields=["tenant", "book", "effective_at"], name="price_version_start_once"),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"


class Price(TenantModel):
    """The unit price of a meter for usage that carries all of `dims`."""

    version = TenantForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="prices")
    meter = TenantForeignKey(Meter, on_delete=models.PROTECT, related_name="+")
    dims = models.JSONField(default=dict)
    unit_amount = exact()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "version", "meter", "dims"], name="price_once_per_dims"),
            models.CheckConstraint(condition=Q(unit_amount__gte=0, unit_amount__lt=10**12), name="price_is_real"),
        ]
