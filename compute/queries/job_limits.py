"""Which quotas bind a launch, and what would be left of each after it: for quotes and the form."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from compute.jobs import job_quotas
from compute.jobs.job_request import JobRequest
from tenants import quotas


@dataclass(frozen=True)
class LimitAfter:
    """One limit that binds a launch, in shown units; `needed` is what the launch takes of it.

    A launch that does not fit waits where `waits`, else it is refused.
    """

    resource: str
    title: str
    scope: str
    whose: str
    period: str
    unit: str
    limit: int | float
    in_use: int | float
    needed: int | float
    left_after: int | float
    fits: bool
    waits: bool

    @property
    def after(self) -> int | float:
        """What is in use after the launch."""
        return round(self.in_use + self.needed, 3)

    @property
    def share(self) -> float:
        """The share of the limit in use after the launch."""
        return self.after / self.limit if self.limit else 1.0

    @property
    def sentence(self) -> str:
        """What happens to a launch that does not fit."""
        unit = f" {self.unit}" if self.unit else ""
        stands = f"{self.in_use} of {self.limit}{unit} of {self.title} are in use {self.whose}"
        if self.waits:
            return f"It would wait: {stands}. It starts when one is released."
        return f"Does not fit the quota: {stands}, and this may take {self.needed}. Set a shorter time limit, or ask an owner or admin to raise the quota."


def limits_for(order: JobRequest, person: UUID | None) -> list[LimitAfter]:
    """Return the limits that bind this request of a person (None: of nobody's), the ones it does not fit first."""
    known = quotas.resources()
    seconds = job_quotas.worst_s(order.max_seconds)
    wanted = {
        job_quotas.devices(order.device_class): job_quotas.at_once(order.devices * order.share),
        job_quotas.device_time(order.device_class): job_quotas.of_devices(seconds, order.devices, order.share),
    }
    found = []
    for use in quotas.binding(tuple(wanted), project_id=order.project_id, person=person):
        what, needed = known[use.resource], wanted[use.resource]
        limit = use.effective or 0
        found.append(
            LimitAfter(
                resource=use.resource,
                title=what.title,
                scope=use.scope.text,
                whose=quotas.where(use.scope),
                period=use.period,
                unit=what.unit_words,
                limit=what.shown(limit),
                in_use=what.shown(use.in_use),
                needed=what.shown(needed),
                left_after=what.shown(max(0, limit - use.in_use - needed)),
                fits=use.in_use + needed <= limit,
                waits=what.waits,
            )
        )
    return sorted(found, key=lambda one: one.fits)
