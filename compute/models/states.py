"""States of jobs, attempts and devices, and their causes."""

from django.db import models


class JobState(models.TextChoices):
    """States of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Cause(models.TextChoices):
    """Causes of a paused or failed job."""

    NONE = ""
    BUDGET = "budget"
    IDLE = "idle"
    USER = "user"
    USER_ERROR = "user_error"
    PLATFORM = "platform"
    POISON = "poison"
    TIME_LIMIT = "time_limit"
    COST_LIMIT = "cost_limit"
    ARTIFACT = "artifact"


class Outcome(models.TextChoices):
    """How an attempt ended.

    `unstaged`: its inputs could not be fetched; `lost`: its lease expired; `killed`: ended from outside; `stopped`: its
    worker stopped; `disk_full`: its host had no disk space for its output; `preempted`: it gave way to work that comes before
    it; `reclaimed`: it had borrowed of another organisation's guaranteed part; `idle`: its device did nothing.
    """

    NONE = ""
    SUCCEEDED = "succeeded"
    CRASHED = "crashed"
    UNSTAGED = "unstaged"
    KILLED = "killed"
    LOST = "lost"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    BUDGET = "budget"
    USER_ERROR = "user_error"
    PLATFORM = "platform"
    TIME_LIMIT = "time_limit"
    COST_LIMIT = "cost_limit"
    ARTIFACT = "artifact"
    DISK_FULL = "disk_full"
    PREEMPTED = "preempted"
    RECLAIMED = "reclaimed"
    IDLE = "idle"


class AttemptState(models.TextChoices):
    """An attempt is assigned by the controller, running once its node claimed it, and finally ended."""

    ASSIGNED = "assigned"
    RUNNING = "running"
    ENDED = "ended"


class DeviceState(models.TextChoices):
    """`gone`: the host no longer shows it; `cordoned`: it takes no work until an operator returns it."""

    READY = "ready"
    CORDONED = "cordoned"
    GONE = "gone"


FINAL_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
