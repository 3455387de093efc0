"""The tables of quotas: limits by scope, what is in use, what holds some of it, and the operators' ceilings."""

from django.db import models

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

AT_ONCE, MONTH = "at_once", "month"
PERIODS = [(AT_ONCE, "At once"), (MONTH, "A month")]
KNOWN_PERIOD = models.Q(period=AT_ONCE) | models.Q(period=MONTH)


class Quota(TenantModel):
    """How much of a resource one scope may use, and uses: the whole tenant, a project, or a person.

    No limit when `limit` is empty. `in_use` of a month's quota counts in `month`, the first day of a local month; a later
    month starts from 0. Parts of a resource count in thousandths. `raised_to` replaces a lower limit until `raised_until`.
    Rows without a limit only count.
    """

    resource = models.CharField(max_length=80)
    period = models.CharField(max_length=7, choices=PERIODS, default=AT_ONCE, db_default=AT_ONCE)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, null=True, related_name="+")
    person = models.UUIDField(null=True)
    limit = models.BigIntegerField(null=True)
    guaranteed = models.BigIntegerField(default=0, db_default=0)
    weight = models.PositiveSmallIntegerField(default=1, db_default=1)
    raised_to = models.BigIntegerField(null=True)
    raised_until = models.DateTimeField(null=True)
    in_use = models.DecimalField(max_digits=22, decimal_places=3, default=0)
    month = models.DateField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "resource", "period", "project", "person"], name="quota_once", nulls_distinct=False
            ),
            models.CheckConstraint(condition=models.Q(in_use__gte=0), name="quota_use_not_negative"),
            models.CheckConstraint(condition=KNOWN_PERIOD, name="quota_period_known"),
            models.CheckConstraint(
                condition=models.Q(project__isnull=True) | models.Q(person__isnull=True), name="quota_has_one_scope"
            ),
            models.CheckConstraint(
                condition=models.Q(guaranteed__gte=0, weight__gte=1), name="quota_share_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(raised_to__isnull=True, raised_until__isnull=True)
                | models.Q(raised_to__isnull=False, raised_until__isnull=False),
                name="quota_raise_has_an_end",
            ),
        ]


class QuotaReservation(TenantModel):
    """What one subject (such as `job:<id>`) reserves of a resource, and for which project and person it counts."""

    resource = models.CharField(max_length=80)
    period = models.CharField(max_length=7, choices=PERIODS, default=AT_ONCE, db_default=AT_ONCE)
    month = models.DateField(null=True)
    subject = models.CharField(max_length=120)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, null=True, related_name="+")
    person = models.UUIDField(null=True)
    amount = models.DecimalField(max_digits=22, decimal_places=3)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "subject", "resource"], name="quota_reservation_once"),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="quota_reservation_positive"),
        ]


class QuotaCeiling(TenantModel):
    """The most that operators let a tenant use of a resource, whatever limits it sets itself; the web role only reads.

    `guaranteed` devices come before those of others who have their own guarantee; `weight` shares the rest. `raised_to`
    replaces a lower limit until `raised_until`.
    """

    resource = models.CharField(max_length=80)
    period = models.CharField(max_length=7, choices=PERIODS, default=AT_ONCE, db_default=AT_ONCE)
    limit = models.BigIntegerField(null=True)
    guaranteed = models.BigIntegerField(default=0, db_default=0)
    weight = models.PositiveSmallIntegerField(default=1, db_default=1)
    raised_to = models.BigIntegerField(null=True)
    raised_until = models.DateTimeField(null=True)
    set_by = models.CharField(max_length=254)
    reason = models.CharField(max_length=400)
    set_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "resource", "period"], name="quota_ceiling_once"),
            models.CheckConstraint(condition=KNOWN_PERIOD, name="quota_ceiling_period_known"),
            models.CheckConstraint(
                condition=models.Q(guaranteed__gte=0, weight__gte=1), name="quota_ceiling_share_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(limit__isnull=True) | models.Q(limit__gte=0), name="quota_ceiling_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(raised_to__isnull=True, raised_until__isnull=True)
                | models.Q(raised_to__isnull=False, raised_until__isnull=False, limit__isnull=False),
                name="quota_ceiling_raise_has_an_end",
            ),
        ]
