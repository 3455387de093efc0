"""The tables of attempts, and of how busy their devices were."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from compute.models.jobs import Job
from compute.models.nodes import Device, Node
from compute.models.states import AttemptState, Outcome
from compute.policy import WHOLE
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class Attempt(TenantModel):
    """One run of a job on one device. Live until it has ended; (job, token) fences every write of its worker.

    `borrowed`: it started beyond its tenant's guaranteed part, or past an older job, so it gives way; `stops_as`: the outcome
    with which it was asked to, empty until then.

    `idle_since`: its devices have done nothing since then, and at `idle_stop_at` it is stopped, unless it works again; `snoozes`
    counts how often a person put that off, last for `snooze_reason`.

    Node and device are those of its first member; `rendezvous` is where members on other nodes meet it. A trigger lets a member
    start only on a device that the attempt holds
    (`DeviceHold`); a foreign key would reveal other tenants.
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
    rendezvous = models.JSONField(default=dict, db_default={})
    borrowed = models.BooleanField(default=False, db_default=False)
    stops_as = models.CharField(max_length=10, choices=Outcome, default=Outcome.NONE, db_default="", blank=True)
    idle_since = models.DateTimeField(null=True)
    idle_stop_at = models.DateTimeField(null=True)
    snoozes = models.PositiveSmallIntegerField(default=0, db_default=0)
    snooze_reason = models.CharField(max_length=500, blank=True, default="", db_default="")

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "job", "token"], name="compute_attempt_token_once"),
            models.UniqueConstraint(
                fields=["tenant", "job"], condition=~Q(state="ended"), name="compute_attempt_one_live_per_job"
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
            models.Index(fields=["ended_at"], name="compute_attempt_ended"),
            models.Index(
                fields=["idle_since"],
                condition=Q(ended_at__isnull=True, idle_since__isnull=False),
                name="compute_attempt_idle",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.token}"


class AttemptMember(TenantModel):
    """One rank of an attempt on its device, of which it has `share` thousandths. Rank 0 speaks for all."""

    attempt = TenantForeignKey(Attempt, on_delete=models.CASCADE, related_name="members")
    rank = models.PositiveSmallIntegerField()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    share = models.PositiveSmallIntegerField(default=WHOLE)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "attempt", "rank"], name="compute_member_rank_once"),
            models.UniqueConstraint(fields=["tenant", "attempt", "device"], name="compute_member_device_once"),
            models.CheckConstraint(condition=Q(share__range=(1, WHOLE)), name="compute_member_share"),
        ]

    def __str__(self) -> str:
        return f"rank {self.rank}"


class DeviceSample(TenantModel):
    """How busy a device was over `seconds` before `at`, while this tenant's attempt held it; `number` grows.

    `power_w` is its mean power. Both are None where the device does not measure them.
    """

    attempt = TenantForeignKey(Attempt, on_delete=models.CASCADE, related_name="+")
    job = TenantForeignKey(Job, on_delete=models.CASCADE, related_name="+")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    number = models.BigIntegerField()
    seconds = models.FloatField()
    busy = models.FloatField(null=True)
    memory_bytes = models.BigIntegerField()
    power_w = models.FloatField(null=True)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "attempt", "number"], name="compute_sample_once")
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "at"], name="compute_sample_by_time")]


class DeviceHour(TenantModel):
    """The sums of the samples of one rank of an attempt in one UTC hour; they outlive the samples.

    `energy_j` sums the samples that measured power; None where none did.
    """

    attempt = TenantForeignKey(Attempt, on_delete=models.CASCADE, related_name="+")
    rank = models.PositiveSmallIntegerField(default=0, db_default=0)
    hour = models.DateTimeField()
    sampled_s = models.FloatField()
    used_s = models.FloatField()
    peak_memory_bytes = models.BigIntegerField()
    energy_j = models.FloatField(null=True)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "attempt", "rank", "hour"], name="compute_hour_once")
        ]
