"""Measured usage: meters, the keys of all accepted usage, intervals and their hourly sums."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.fields import exact, lean_tenant
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models import Project

#: How a meter makes a quantity of its events; see `billing.rating.aggregation`.
AGGREGATIONS = ["sum", "count", "max", "unique", "latest", "time_weighted"]


class Meter(TenantModel):
    """Something that is counted, in one unit. A trigger keeps `aggregation` once there are readings."""

    key = models.SlugField(max_length=60)
    title = models.CharField(max_length=120)
    unit = models.CharField(max_length=30)
    event_type = models.CharField(max_length=120)
    aggregation = models.CharField(max_length=13, default="sum", db_default="sum")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="meter_key_once"),
            models.UniqueConstraint(fields=["tenant", "event_type"], name="meter_event_type_once"),
            models.CheckConstraint(condition=Q(aggregation__in=AGGREGATIONS), name="meter_aggregation_known"),
        ]

    def __str__(self) -> str:
        return self.key


class UsageKey(TenantModel):
    """The key of a usage interval. Every effect depends on this insert; never partitioned, never detached.

    `batch_id` names the request that reported it from outside, and so its sender.
    """

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "key_hash")
    key_hash = models.BinaryField()
    payload_hash = models.BinaryField()
    event_at = models.DateTimeField()
    batch_id = models.UUIDField(null=True)


class UsageSeries(TenantModel):
    """The identity of usage: the resource, the job and attempt that used it, and its dimensions."""

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "hash")
    hash = models.BinaryField()
    resource = models.CharField(max_length=200)
    job_id = models.UUIDField(null=True)
    attempt_id = models.UUIDField(null=True)
    source = models.CharField(max_length=120)
    dims = models.JSONField(default=dict)

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [
            models.Index(fields=["tenant", "job_id"], name="series_job"),
            models.Index(fields=["tenant", "attempt_id"], name="series_attempt"),
            models.Index(fields=["tenant", "resource"], name="series_resource", condition=Q(job_id=None)),
        ]


class UsageEvent(TenantModel):
    """A segment of an interval inside one quarter hour and one price, in a monthly partition.

    `measured` is what ran, `billable` what is charged: less if no hold covered it. `amount` is at the contracted price,
    `discount` what the list price would add; `rate_id` is the exchange rate by which both were converted, if the price is in
    another currency than the contract. `period` is the month that bills it: that of `day`, or a later one if that
    was closed. An adjustment is a counter-entry
    with nothing measured and a negative charge; a void reverses all of a reported event. The partitioned table is
    created by SQL.
    """

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "series_hash", "started_at", "key_hash", "part")
    series_hash = models.BinaryField()
    started_at = models.DateTimeField()
    key_hash = models.BinaryField()
    part = models.PositiveSmallIntegerField()
    ended_at = models.DateTimeField()
    kind = models.CharField(
        max_length=6, choices=[("usage", "Usage"), ("waiver", "Waiver"), ("void", "Void")], default="usage"
    )
    period = models.DateField()
    day = models.DateField()
    meter_id = models.UUIDField()
    project_id = models.UUIDField()
    price_id = models.UUIDField(null=True)
    rate_id = models.UUIDField(null=True)
    hold_id = models.UUIDField(null=True)
    measured = exact()
    billable = exact()
    amount = exact()
    discount = exact(default=0, db_default=0)
    batch_id = models.UUIDField(null=True)
    recorded_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)


class UsageRollup(TenantModel):
    """Hourly sums, written in the transaction that accepts the intervals. Rating and pages read only these.

    A sum of a correction (its `period` is after the month of its `day`) may be negative.
    """

    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.PROTECT, related_name="+", editable=False, db_index=False
    )
    period = models.DateField()
    day = models.DateField()
    hour = models.DateTimeField()
    # No foreign key: a published price is never removed, and the check would lock one row for all tenants.
    price = models.ForeignKey(
        "billing.Price", on_delete=models.PROTECT, related_name="+", null=True, db_index=False, db_constraint=False
    )
    rate = models.ForeignKey(
        "billing.ExchangeRate",
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        db_index=False,
        db_constraint=False,
    )
    meter = TenantForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    project = TenantForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    series_hash = models.BinaryField()
    events = models.BigIntegerField()
    measured = exact()
    billable = exact()
    amount = exact()
    discount = exact(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "series_hash", "hour", "day", "period", "project", "meter", "price", "rate"],
                name="rollup_once",
                nulls_distinct=False,
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "day", "project"], name="rollup_day"),
            models.Index(fields=["tenant", "period"], name="rollup_correction", condition=Q(day__lt=F("period"))),
        ]


class RequiredTag(TenantModel):
    """A tag that work of these `kinds` must carry, empty for all; `values` are those allowed, empty for any."""

    name = models.CharField(max_length=40)
    values = models.JSONField(default=list, db_default=[])
    kinds = models.JSONField(default=list, db_default=[])

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="required_tag_once")]

    def __str__(self) -> str:
        return self.name


class SharedCost(TenantModel):
    """A cost that projects pay together, and how it is split; `n` orders the rules (`billing.allocation.sharing`)."""

    n = models.PositiveSmallIntegerField()
    source = models.CharField(max_length=12)
    rule = models.CharField(max_length=8)
    project = TenantForeignKey(Project, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    tag_key = models.CharField(max_length=40, blank=True, default="", db_default="")
    tag_value = models.CharField(max_length=120, blank=True, default="", db_default="")
    resource = models.CharField(max_length=80, blank=True, default="", db_default="")
    shares = models.JSONField(default=dict, db_default={})

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source", "project", "tag_key", "tag_value"],
                name="shared_cost_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(source="organisation", project__isnull=True, tag_key="")
                | Q(source="project", project__isnull=False, tag_key="")
                | (Q(source="tag", project__isnull=True) & ~Q(tag_key="")),
                name="shared_cost_has_one_source",
            ),
            models.CheckConstraint(
                condition=Q(rule__in=["even", "by_use", "by_quota", "fixed"]), name="shared_cost_rule_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source}, {self.rule}"
