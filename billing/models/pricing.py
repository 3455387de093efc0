"""Price books of the platform: versions follow each other in time and are never edited. Contracts name a tenant's book."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q

from billing.models.fields import exact
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel


class PriceBook(models.Model):
    """A list of prices in one currency. It is the platform's; tenants read those that their contracts name."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    is_standard = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["currency"], condition=Q(is_standard=True), name="price_book_one_standard"),
        ]

    def __str__(self) -> str:
        return self.name


class PriceVersion(models.Model):
    """A complete list of prices from `effective_at` until the next version; triggers keep it as published.

    Only the book's first version may start at once; a later one starts at least five minutes after it is
    published, because usage is accepted up to five minutes ahead: so no accepted second changes its price.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    effective_at = models.DateTimeField()
    published_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    published_by = models.CharField(max_length=254)
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["book", "number"], name="price_version_number_once"),
            models.UniqueConstraint(fields=["book", "effective_at"], name="price_version_start_once"),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"


class Price(models.Model):
    """The unit price of the meter with this key, for usage that carries all of `dims`.

    `list_amount` is the list price that it is a discount on; empty if it is the list price itself.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="prices")
    meter = models.CharField(max_length=60)
    dims = models.JSONField(default=dict)
    unit_amount = exact()
    list_amount = exact(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "meter", "dims"], name="price_once_per_dims"),
            models.CheckConstraint(condition=Q(unit_amount__gte=0, unit_amount__lt=10**12), name="price_is_real"),
            models.CheckConstraint(
                condition=Q(list_amount=None) | Q(list_amount__gte=0, list_amount__lt=10**12), name="list_price_is_real"
            ),
        ]

    def __str__(self) -> str:
        return self.meter


class ShowbackPrice(TenantModel):
    """A tenant's own price of a meter, for usage that carries all of `dims`: what its projects are shown. No invoice reads it."""

    meter = models.CharField(max_length=60)
    dims = models.JSONField(default=dict)
    unit_amount = exact()
    currency = models.CharField(max_length=3)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "meter", "dims"], name="showback_price_once_per_dims"),
            models.CheckConstraint(
                condition=Q(unit_amount__gte=0, unit_amount__lt=10**12), name="showback_price_is_real"
            ),
        ]

    def __str__(self) -> str:
        return self.meter


class Contract(TenantModel):
    """The book that a tenant's usage is rated by, and its terms, from the local day `starts_on` until before `ends_on`.

    `currency` is what the tenant pays in; prices of a book in another one are converted by the seller's exchange rates.
    One that changes it names the one before, and the rate at which budgets are restated, to so many decimals. `terms` adjust
    the bill of a period: price models, discounts, commitments and the like, as `billing.rating.billed.reading` writes them. For `grace_days` after a month's end late usage is awaited before it is finalised. Triggers keep what was in force: a contract that has begun takes an end in the future, and nothing else.
    """

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="contracts")
    currency = models.CharField(max_length=3)
    starts_on = models.DateField()
    ends_on = models.DateField(null=True)
    payment_days = models.PositiveSmallIntegerField(default=30, db_default=30)
    billing_name = models.CharField(max_length=200, blank=True, default="", db_default="")
    billing_address = models.TextField(blank=True, default="", db_default="")
    billing_email = models.EmailField(blank=True, default="", db_default="")
    tax_number = models.CharField(max_length=40, blank=True, default="", db_default="")
    tax_rate = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    country = models.CharField(max_length=2, blank=True, default="", db_default="")
    grace_days = models.PositiveSmallIntegerField(default=0, db_default=0)
    terms = models.JSONField(default=dict, db_default={})
    currency_before = models.CharField(max_length=3, blank=True, default="", db_default="")
    restating_rate = exact(null=True)
    restating_decimals = models.PositiveSmallIntegerField(null=True)
    agreed_by = models.CharField(max_length=254)
    agreed_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(currency_before="", restating_rate=None, restating_decimals=None)
                | ~Q(currency_before="")
                & ~Q(currency_before=F("currency"))
                & Q(restating_rate__gt=0, restating_decimals__lte=12),
                name="contract_restates_what_it_changes",
            ),
            models.CheckConstraint(
                condition=Q(starts_on__day=1) & (Q(ends_on=None) | (Q(ends_on__day=1) & Q(ends_on__gt=F("starts_on")))),
                name="contract_runs_from_month_to_month",
            ),
            models.CheckConstraint(
                condition=Q(payment_days__lte=365, grace_days__lte=31)
                & (Q(tax_rate=None) | Q(tax_rate__gte=0, tax_rate__lte=100)),
                name="contract_terms_are_real",
            ),
            ExclusionConstraint(
                name="contract_one_at_a_time",
                expressions=[
                    (F("tenant"), RangeOperators.EQUAL),
                    (
                        Func(F("starts_on"), F("ends_on"), function="daterange", output_field=DateRangeField()),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"contract from {self.starts_on}"


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


class ExchangeRate(models.Model):
    """How much of `target` one unit of `source` buys, from `valid_from` until the pair's next rate; triggers keep it as entered.

    Only the first rate of a pair may begin at once; a later one begins at least five minutes after it is entered, because
    usage is accepted up to five minutes ahead: so no accepted second changes its rate. `origin` says who published it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source = models.CharField(max_length=3)
    target = models.CharField(max_length=3)
    rate = exact()
    valid_from = models.DateTimeField()
    origin = models.CharField(max_length=120)
    entered_by = models.CharField(max_length=254)
    entered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["source", "target", "valid_from"], name="exchange_rate_start_once"),
            models.CheckConstraint(
                condition=Q(rate__gt=0, rate__lt=10**12)
                & Q(source__regex=r"^[A-Z]{3}$", target__regex=r"^[A-Z]{3}$")
                & ~Q(source=F("target")),
                name="exchange_rate_is_real",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} in {self.target}"


class DeviceCost(models.Model):
    """What a device-hour of a class costs the platform, from the start of a day in UTC; triggers keep it as entered.

    It prices nothing: no price book, hold or invoice reads it. All costs are in one currency. The first of a class, or one in
    the place of a withdrawn one, may begin in the past; another begins after the day on which it is entered.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    device_class = models.CharField(max_length=80)
    per_hour = exact()
    currency = models.CharField(max_length=3)
    starts_on = models.DateField()
    entered_by = models.CharField(max_length=254)
    entered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(per_hour__gte=0, per_hour__lt=10**12)
                & Q(currency__regex=r"^[A-Z]{3}$")
                & ~Q(device_class=""),
                name="device_cost_is_real",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["device_class", "starts_on"], name="billing_device_cost_start")]

    def __str__(self) -> str:
        return f"{self.device_class} from {self.starts_on}"


class DeviceCostWithdrawal(models.Model):
    """Withdraws a cost that was entered by mistake; both rows stay as entered."""

    cost = models.OneToOneField(DeviceCost, primary_key=True, on_delete=models.PROTECT, related_name="withdrawal")
    withdrawn_by = models.CharField(max_length=254)
    withdrawn_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    def __str__(self) -> str:
        return f"{self.pk} withdrawn"


class ClusterRule(models.Model):
    """Who bears held and free time in the cluster's bills of the months from `starts_on` on; of those for a month, the last chosen."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    starts_on = models.DateField()
    rule = models.CharField(max_length=20)
    chosen_by = models.CharField(max_length=254)
    chosen_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(rule__in=("proportional", "even", "guaranteed", "platform"), starts_on__day=1),
                name="billing_cluster_rule_of_month",
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule} from {self.starts_on}"
