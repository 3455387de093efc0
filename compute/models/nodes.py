"""The tables of hosts and their devices; both belong to no tenant."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from compute import limits
from compute.models.states import DeviceState
from compute.policy import WHOLE
from tenants.clock import DatabaseNow
from tenants.ids import uuid7


class Node(models.Model):
    """A host, of no tenant, that runs attempts.

    `boot` changes with its worker; a stopping or unresponsive one is not `accepting`. One that is `draining` was asked by
    an operator to take no new work. `release` is that of its worker's code; one too far from ours gets no work. Once `ended_at`, its login is gone.
    `labels`: set by operators; work that asks for some runs only where all of them are.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120, unique=True)
    hostname = models.CharField(max_length=253)
    boot = models.UUIDField()
    accepting = models.BooleanField(default=True)
    missing_layers = models.JSONField(default=list)
    labels = models.JSONField(default=dict, db_default={})
    draining = models.BooleanField(default=False, db_default=False)
    ended_at = models.DateTimeField(null=True)
    release = models.PositiveSmallIntegerField(default=0, db_default=0)
    registered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    last_seen_at = models.DateTimeField(db_default=DatabaseNow())

    def __str__(self) -> str:
        return self.name


#: Of devices: their node is given new work.
TAKES_WORK = Q(node__accepting=True, node__draining=False, node__release__range=limits.RELEASES)


class NodeToken(models.Model):
    """Lets one machine join as the node of that name, once and for a short time; only a digest of it is kept.

    That of a `pool` lets in every machine whose name is this one, a dash, and more, as often as it comes.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    node_name = models.CharField(max_length=120)
    pool = models.BooleanField(default=False, db_default=False)
    digest = models.BinaryField(unique=True)
    made_by = models.UUIDField()
    made_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["-id"], name="compute_nodetoken_newest")]

    def __str__(self) -> str:
        return self.node_name


class NodeSecret(models.Model):
    """A digest of the secret by which a node asks for what its live work needs. It goes with the node's login."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, primary_key=True, related_name="+")
    digest = models.BinaryField(unique=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    def __str__(self) -> str:
        return f"secret of {self.node_id}"


class Device(models.Model):
    """One GPU or CPU device of a node. `held` thousandths of it are taken now: the sum of its `DeviceHold`s, by a trigger.

    `cordoned_for`: why one that is `gone` was cordoned, and is again once its host shows it; else empty. `temperature_c`: in degrees
    Celsius at its node's last heartbeat, None where it is not measured; `warning`: what operators should look at though it works.
    `link`: its pool by the speed of links on its node (`devices/links.py`), empty for none.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="devices")
    uuid = models.CharField(max_length=160)
    kind = models.CharField(max_length=4, choices=[("cpu", "CPU"), ("cuda", "CUDA")])
    device_class = models.CharField(max_length=80)
    name = models.CharField(max_length=160)
    index = models.PositiveIntegerField()
    memory_bytes = models.BigIntegerField()
    link = models.CharField(max_length=40, blank=True, default="", db_default="")
    serves = models.BooleanField(default=False, db_default=False)
    state = models.CharField(max_length=8, choices=DeviceState, default=DeviceState.READY)
    state_reason = models.CharField(max_length=400, blank=True)
    cordoned_for = models.CharField(max_length=400, blank=True, default="", db_default="")
    state_at = models.DateTimeField(db_default=DatabaseNow())
    temperature_c = models.SmallIntegerField(null=True)
    warning = models.CharField(max_length=200, blank=True, default="", db_default="")
    held = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["node", "uuid"], name="compute_device_once_per_node"),
            models.CheckConstraint(condition=Q(held__range=(0, WHOLE)), name="compute_device_held_once"),
        ]

    def __str__(self) -> str:
        return self.name


class SharedClass(models.Model):
    """A class of devices that operators opened for shares: into how many equal `parts` a device of it may be divided, such as 2 and 4."""

    device_class = models.CharField(max_length=80, primary_key=True)
    parts = models.JSONField(default=list)
    set_by_label = models.CharField(max_length=254)
    set_at = models.DateTimeField(db_default=DatabaseNow())

    def __str__(self) -> str:
        return self.device_class


class DeviceHold(models.Model):
    """A device's `share`, in thousandths, that an attempt or an allocation (`holder`) has.

    No foreign key to the holder: it would reveal tenants.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="holds")
    holder = models.UUIDField()
    share = models.PositiveSmallIntegerField(default=WHOLE)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["holder", "device"], name="compute_hold_once"),
            models.CheckConstraint(condition=Q(share__range=(1, WHOLE)), name="compute_hold_share"),
        ]

    def __str__(self) -> str:
        return f"{self.share} of {self.device_id}"


class DevicePresence(models.Model):
    """A time in which a device was in the pool, with the class and use that it had then; open while it is there.

    Not `schedulable`: it was cordoned. Such time is no capacity, except where work still ran. `fleet/presence.py` writes it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="presences")
    device_class = models.CharField(max_length=80)
    serves = models.BooleanField()
    schedulable = models.BooleanField()
    from_at = models.DateTimeField()
    until_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["device"], condition=Q(until_at=None), name="compute_presence_one_open"),
            models.UniqueConstraint(fields=["device", "from_at"], name="compute_presence_once"),
            models.CheckConstraint(
                condition=Q(until_at=None) | Q(until_at__gt=F("from_at")), name="compute_presence_span"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["until_at"], name="compute_presence_ended")]

    def __str__(self) -> str:
        return f"{self.device_id} from {self.from_at}"


class CapacityWanted(models.Model):
    """What the queue would use now of one class of devices: the leading controller replaces it at each sweep.

    `unneeded` names nodes that nobody uses, or would. It belongs to no tenant and names none.
    """

    device_class = models.CharField(max_length=80, primary_key=True)
    devices = models.PositiveIntegerField()
    nodes = models.PositiveIntegerField()
    per_node = models.PositiveIntegerField()
    unneeded = models.JSONField(default=list)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.devices} of {self.device_class}"
