"""What a job takes of quotas: its devices at once while an attempt lives, and its device time of the month from its launch.

The worst case is reserved at the launch, and what was not used is given back when the job rests. Device time counts in
the local month in which the job was launched or resumed.
"""

from __future__ import annotations

import math
from decimal import Decimal

from compute.jobs.repricing import grace_s
from compute.models import Job
from compute.policy import WHOLE
from tenants import quotas
from tenants.quotas import Amount, Scopes


def devices(device_class: str) -> str:
    """Return the resource of devices of a class, held at once."""
    return f"devices:{device_class}"


def device_time(device_class: str) -> str:
    """Return the resource of the device time of a class in a month, counted in seconds."""
    return f"device_hours:{device_class}"


def rest_s(job: Job) -> int:
    """Return the most device-seconds that a job can still use, with the grace of a stop."""
    return of_devices(max(1, worst_s(job.max_seconds) - math.ceil(job.measured_s)), job.devices, job.share)


def at_once(thousandths: int) -> Amount:
    """Return how many devices so many thousandths of one are."""
    whole, part = divmod(thousandths, WHOLE)
    return Decimal(thousandths) / WHOLE if part else whole


def of_devices(amount: int, devices: int, share: int) -> int:
    """Return an amount for one device as the amount for all of them, or for a share of one: rounded up."""
    return -(-amount * devices * share // WHOLE)


def worst_s(max_seconds: int) -> int:
    """Return the whole seconds to reserve for a run with this time limit, with the grace of a stop."""
    return math.ceil(max_seconds + grace_s())


def reserve_time(job: Job) -> None:
    """Reserve the rest of a job's device time in the running month. Raises QuotaExceeded (409)."""
    quotas.reserve(
        resource=device_time(job.device_class),
        subject=job.subject,
        amount=rest_s(job),
        of=_scopes(job),
        period=quotas.MONTH,
    )


def take_devices(job: Job) -> None:
    """Count devices as held by a job that gets them. Raises QuotaExceeded, which ends the transaction: then the job waits."""
    quotas.reserve(
        resource=devices(job.device_class),
        subject=job.subject,
        amount=at_once(job.devices * job.share),
        of=_scopes(job),
        period=quotas.AT_ONCE,
        savepoint=False,
    )


def release(job: Job, *, rests: bool) -> None:
    """Release a job's devices, and, if it `rests`, the device time that it did not use; idempotent."""
    if rests:
        quotas.release(subject=job.subject, unused={device_time(job.device_class): rest_s(job)})
    else:
        quotas.release(subject=job.subject, resource=devices(job.device_class))


def _scopes(job: Job) -> Scopes:
    return Scopes(job.project_id, job.person)
