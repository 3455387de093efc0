"""The tables of jobs and of what their attempts report: log lines and metrics."""

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q

from compute.limits import MOST_DEVICES
from compute.models.sets import JobSet
from compute.models.states import Cause, JobState
from compute.policy import WHOLE
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.sharing.tables import SharedWithGroup, SharedWithPerson


class Job(TenantModel):
    """One piece of work of a kind. `token` grows with each attempt; `spec` belongs to the kind and is not read here.

    Basis of later quotes: `family` names comparable runs, `work_key` exactly the same work, `nominal_s` the work by the
    kind's own formula. `forecast` and the quoted amounts are those of its quote. `approval_id`: the request that a kept
    launch waits for, without money, quota or device.

    `wait_reason`: why the policy did not start it at the last sweep; `expected_start_at`: when it then expected to, and
    `first_expected_at` at the first sweep, which `start_error_s` compares with when it did (seconds, later is positive).

    It needs `devices` at once, on one node if `one_node`; or a `share` of one, in thousandths. `unit_amount` is the
    price of a second of one device. `node_labels`: it runs only on nodes that carry them all. `set_index`: its place in its job set; a job run again has that of the one before.
    """

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=40)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    spec = models.JSONField()
    device_class = models.CharField(max_length=80)
    devices = models.PositiveSmallIntegerField(default=1)
    share = models.PositiveSmallIntegerField(default=WHOLE, db_default=WHOLE)
    one_node = models.BooleanField(default=True, db_default=True)
    node_labels = models.JSONField(default=dict, db_default={})
    priority = models.SmallIntegerField(default=0, db_default=0)
    tier = models.CharField(max_length=9, choices=[("on_demand", "On demand"), ("spot", "Spot")])
    tags = models.JSONField(default=dict)
    max_seconds = models.PositiveIntegerField()
    max_cost = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    typical_s = models.PositiveIntegerField(default=0)
    family = models.CharField(max_length=80, blank=True, default="", db_default="")
    work_key = models.CharField(max_length=64, blank=True, default="", db_default="")
    nominal_s = models.FloatField(null=True)
    forecast = models.JSONField(default=dict, db_default={})
    quoted_least = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    quoted_most = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    state = models.CharField(max_length=9, choices=JobState, default=JobState.QUEUED)
    cause = models.CharField(max_length=10, choices=Cause, default=Cause.NONE, blank=True)
    message = models.TextField(blank=True)
    submitted_by = models.UUIDField(null=True)
    submitted_by_label = models.CharField(max_length=254)
    person = models.UUIDField(null=True)
    submitted_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    queued_at = models.DateTimeField(db_default=DatabaseNow())
    not_before = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    token = models.PositiveIntegerField(default=0)
    own_crashes = models.PositiveSmallIntegerField(default=0)
    infrastructure_kills = models.PositiveSmallIntegerField(default=0)
    progress = models.JSONField(default=dict)
    checkpoint = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    hold_id = models.UUIDField(null=True)
    quote_id = models.UUIDField(null=True)
    approval_id = models.UUIDField(null=True)
    price_version = models.UUIDField(null=True)
    unit_amount = models.DecimalField(max_digits=38, decimal_places=12)
    currency = models.CharField(max_length=3)
    measured_s = models.DecimalField(max_digits=18, decimal_places=6, default=0)
    spent = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    cloned_from = models.UUIDField(null=True)
    set = TenantForeignKey(JobSet, null=True, on_delete=models.PROTECT, related_name="jobs")
    set_index = models.PositiveSmallIntegerField(null=True)
    wait_reason = models.CharField(max_length=10, blank=True, default="", db_default="")
    expected_start_at = models.DateTimeField(null=True)
    first_expected_at = models.DateTimeField(null=True)
    start_error_s = models.FloatField(null=True)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="compute_job_known_state"),
            models.CheckConstraint(
                condition=Q(state__in=["failed", "paused"], cause__gt="")
                | (~Q(state__in=["failed", "paused"]) & Q(cause="")),
                name="compute_job_cause_with_state",
            ),
            models.CheckConstraint(
                condition=Q(devices__range=(1, MOST_DEVICES), share=WHOLE) | Q(devices=1, share__range=(1, WHOLE)),
                name="compute_job_devices",
            ),
            models.CheckConstraint(condition=Q(priority__range=(-100, 100)), name="compute_job_priority"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-id"], name="compute_job_newest"),
            models.Index(fields=["tenant", "queued_at"], condition=Q(state="queued"), name="compute_job_waiting"),
            models.Index(
                fields=["tenant", "approval_id"],
                condition=Q(state="queued", approval_id__isnull=False),
                name="compute_job_kept",
            ),
            models.Index(
                fields=["tenant", "-started_at"],
                condition=Q(start_error_s__isnull=False),
                name="compute_job_start_errors",
            ),
            models.Index(
                fields=["tenant", "family", "device_class", "-ended_at"],
                condition=Q(ended_at__isnull=False) & ~Q(family=""),
                name="compute_job_learnt",
            ),
            models.Index(
                fields=["tenant", "set", "set_index"], condition=Q(set__isnull=False), name="compute_job_of_set"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def second_amount(self) -> Decimal:
        """Return what a second on all its devices, or on its share of one, costs."""
        return self.unit_amount * self.devices * Decimal(self.share).scaleb(-3)

    @property
    def subject(self) -> str:
        """Return the subject of quota and money reserved for this job."""
        return f"job:{self.id}"


class JobLog(TenantModel):
    """One line of a child's standard error. `position` grows along the job."""

    job = TenantForeignKey(Job, on_delete=models.CASCADE, related_name="+")
    token = models.PositiveIntegerField()
    position = models.BigIntegerField()
    at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    line = models.TextField()

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "job", "position"], name="compute_log_line_once")
        ]


class JobMetric(TenantModel):
    """The values reported for one step in one attempt."""

    job = TenantForeignKey(Job, on_delete=models.CASCADE, related_name="+")
    token = models.PositiveIntegerField()
    step = models.BigIntegerField()
    at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    values = models.JSONField()

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "job", "step", "token"], name="compute_metric_step_once")
        ]


class JobUserPermission(SharedWithPerson):
    """One person's right to one job."""

    content_object = TenantForeignKey(Job, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithPerson.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "user", "permission", "content_object", name="job_share_once")
        ]


class JobGroupPermission(SharedWithGroup):
    """One group's right to one job."""

    content_object = TenantForeignKey(Job, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithGroup.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "group", "permission", "content_object", name="job_group_share_once")
        ]
