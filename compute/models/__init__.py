"""Tables of the compute app. Writes go through operations, reads through `queries`."""

from compute.models.attempts import Attempt, AttemptMember, DeviceHour, DeviceSample
from compute.models.idle_rules import OwnIdleRule, PoolIdleRule
from compute.models.jobs import Job, JobGroupPermission, JobLog, JobMetric, JobUserPermission
from compute.models.nodes import (
    TAKES_WORK,
    CapacityWanted,
    Device,
    DeviceHold,
    DevicePresence,
    Node,
    NodeSecret,
    NodeToken,
    SharedClass,
)
from compute.models.run_priors import RunPrior
from compute.models.schedules import ScheduleTick
from compute.models.sets import JobSet
from compute.models.slots import SERVING, Allocation, SlotState
from compute.models.states import FINAL_STATES, AttemptState, Cause, DeviceState, JobState, Outcome

__all__ = [
    "FINAL_STATES",
    "SERVING",
    "TAKES_WORK",
    "Allocation",
    "Attempt",
    "AttemptMember",
    "AttemptState",
    "CapacityWanted",
    "Cause",
    "Device",
    "DeviceHold",
    "DeviceHour",
    "DevicePresence",
    "DeviceSample",
    "DeviceState",
    "Job",
    "JobGroupPermission",
    "JobLog",
    "JobMetric",
    "JobSet",
    "JobState",
    "JobUserPermission",
    "Node",
    "NodeSecret",
    "NodeToken",
    "Outcome",
    "OwnIdleRule",
    "PoolIdleRule",
    "RunPrior",
    "ScheduleTick",
    "SharedClass",
    "SlotState",
]
