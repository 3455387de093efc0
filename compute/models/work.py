"""Tables of the compute room. Writes go through `jobs`, `leases`, `nodes` and `scheduling`, reads through `queries`."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from compute.models.run_priors import RunPrior
from compute.models.slots import Allocation
from compute.models.states import FINAL_STATES, AttemptState, Cause, DeviceState, JobState, Outcome
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantForeignKey, TenantModel

__all__ = [
    "FINAL_STATES",
    "Allocation",
    "Attempt",
    "AttemptState",
    "Cause",
    "Device",
    "DeviceHour",
    "DeviceSample",
    "DeviceState",
    "Job",
    "JobLog",
    "JobMetric",
    "JobState",
    "Node",
    "Outcome",
    "RunPrior",
    "ScheduleTick",
]


class Node(models.Model):
    """A host, of no tenant, that runs attempts.

    `boot` changes with its worker; a stopping or unresponsive one is not `accepting`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120, unique=True)
    hostname = models.CharField(max_length=253)
    boot = models.UUIDField()
    accepting = models.BooleanField(default=True)
    missing_layers = models.JSONField(default=list)
    registered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    last_seen_at = models.DateTimeField(db_default=DatabaseNow())

    def __str__(self) -> str:
        return self.name


class Device(models.Model):
    """One GPU or CPU device of a node. `taken_by` is the attempt that holds it, or the allocation if it `serves`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="devices")
    uuid = models.CharField(max_length=160)
    kind = models.CharField(max_length=4, choices=[("cpu", "CPU"), ("cuda", "CUDA")])
    device_class = models.CharField(max_length=80)
    name = models.CharField(max_length=160)
    index = models.PositiveIntegerField()
    memory_bytes = models.BigIntegerField()
    serves = models.BooleanField(default=False, db_default=False)
    state = models.CharField(max_length=8, choices=DeviceState, default=DeviceState.READY)
    state_reason = models.CharField(max_length=400, blank=True)
    state_at = models.DateTimeField(db_default=DatabaseNow())
    taken_by = models.UUIDField(null=True, blank=True, unique=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["node", "uuid"], name="compute_device_once_per_node")]

    def __str__(self) -> str:
        return self.name


class Job(TenantModel):
    """One piece of work of a kind. `token` grows with each attempt; `spec` belongs to the kind and is not read here.

    Basis of later quotes: `family` names comparable runs, `work_key` exactly the same work, `nominal_s` the work by the
    kind's own formula. `forecast` and the quoted amounts are those of its quote.
    """

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=40)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    spec = models.JSONField()
    device_class = models.CharField(max_length=80)
    devices = models.PositiveSmallIntegerField(default=1)
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
    price_version = models.UUIDField(null=True)
    unit_amount = models.DecimalField(max_digits=38, decimal_places=12)
    currency = models.CharField(max_length=3)
    measured_s = models.DecimalField(max_digits=18, decimal_places=6, default=0)
    spent = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    cloned_from = models.UUIDField(null=True)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="compute_job_known_state"),
            models.CheckConstraint(
                condition=Q(state__in=["failed", "paused"], cause__gt="")
                | (~Q(state__in=["failed", "paused"]) & Q(cause="")),
                name="compute_job_cause_with_state",
            ),
            models.CheckConstraint(condition=Q(devices=1), name="compute_job_one_device"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-id"], name="compute_job_newest"),
            models.Index(fields=["tenant", "queued_at"], condition=Q(state="queued"), name="compute_job_waiting"),
            models.Index(
                fields=["tenant", "family", "device_class", "-ended_at"],
                condition=Q(ended_at__isnull=False) & ~Q(family=""),
                name="compute_job_learnt",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def subject(self) -> str:
        """Return the subject of quota and money reserved for this job."""
        return f"job:{self.id}"


class Attempt(TenantModel):
    """One run of a job on one device. Live until it has ended; (job, token) fences every write of its worker.

    A trigger lets it start only on a device that it has taken (`Device.taken_by`); a foreign key would reveal other
    tenants.
    """

    job = TenantForeignKey(Job, on_delete=models.PROTECT, related_name="attempts")
    token = models.PositiveIntegerField()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    device_name = models.CharField(max_length=160)
    device_class = models.CharField(max_length=80)
    state = models.CharField(max_length=8, choices=AttemptState, default=AttemptState.ASSIGNED)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.NONE, blank=True)
    message = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True)
    assigned_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    rung_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    measured_until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    seq = models.PositiveIntegerField(default=0)
    measured_s = models.DecimalField(max_digits=18, decimal_places=6, default=0)
    startup_s = models.FloatField(null=True)
    missing_layers = models.JSONField(default=list)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "job", "token"], name="compute_attempt_token_once"),
            models.UniqueConstraint(
                fields=["tenant", "job"], condition=~Q(state="ended"), name="compute_attempt_one_live_per_job"
            ),
            models.UniqueConstraint(
                fields=["tenant", "device"], condition=~Q(state="ended"), name="compute_attempt_one_live_per_device"
            ),
            models.CheckConstraint(
                condition=Q(state="ended", ended_at__isnull=False) & ~Q(outcome="")
                | ~Q(state="ended") & Q(ended_at__isnull=True, outcome=""),
                name="compute_attempt_outcome_at_end",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["lease_until"], condition=~Q(state="ended"), name="compute_attempt_live"),
            models.Index(fields=["tenant", "assigned_at"], name="compute_attempt_by_time"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.token}"


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


class DeviceSample(TenantModel):
    """How busy a device was over `seconds` before `at`, while this tenant's attempt held it; `number` grows."""

    attempt = TenantForeignKey(Attempt, on_delete=models.CASCADE, related_name="+")
    job = TenantForeignKey(Job, on_delete=models.CASCADE, related_name="+")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    number = models.BigIntegerField()
    seconds = models.FloatField()
    busy = models.FloatField()
    memory_bytes = models.BigIntegerField()

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "attempt", "number"], name="compute_sample_once")
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "at"], name="compute_sample_by_time")]


class DeviceHour(TenantModel):
    """The sums of one attempt's samples in one UTC hour; they outlive the samples."""

    attempt = TenantForeignKey(Attempt, on_delete=models.CASCADE, related_name="+")
    hour = models.DateTimeField()
    sampled_s = models.FloatField()
    used_s = models.FloatField()
    peak_memory_bytes = models.BigIntegerField()

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "attempt", "hour"], name="compute_hour_once")
        ]


class ScheduleTick(models.Model):
    """One firing of one periodic schedule; the constraint makes it unique, whichever controller leads."""

    schedule = models.CharField(max_length=120)
    tick = models.DateTimeField()
    fired_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["schedule", "tick"], name="compute_tick_once")]

    def __str__(self) -> str:
        return f"{self.schedule} at {self.tick:%Y-%m-%d %H:%M:%S}"
