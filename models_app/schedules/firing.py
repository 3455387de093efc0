"""Launch what is due by schedule (control role).

A tick is decided under its schedule's lock, and launched in the transaction that notes it and moves the schedule to its next
tick: two controllers, or one that dies in between, launch it once. Locks: the schedule, then those of the launch.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from compute.models import FINAL_STATES
from models_app.events import ScheduleMissed, ScheduleRefused
from models_app.models import Missed, Overlap, RunState, Schedule, ScheduleRun, TickOutcome
from models_app.pipelines import advancing
from models_app.schedules import launching, notices, schedules, times
from tenants.access.actor import Actor
from tenants.access.standing import CHANGE_NOTHING
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.errors import ExchequerError, RateLimited
from tenants.events.events import publish
from tenants.identity.authentication import actor_today
from tenants.isolation.scoping import TenantQuerySet, all_tenants
from tenants.isolation.sweeps import sweep

FIRED = AuditAction("models_app.schedule.fired")
#: A tick that nobody looked at for so long was missed.
GRACE = timedelta(minutes=5)
#: After so many refusals in a row a schedule pauses itself.
MOST_REFUSALS = 5
#: The most missed ticks that are listed one by one.
MOST_LISTED = 50
#: So many of the newest launches are asked whether they have ended.
MOST_OPEN = 100
LATE = "It was launched late: Exchequer was not running when it was due."
AWAY = "Exchequer was not running when it was due."
EARLIER = " So it was for the {} ticks before, which are not listed."
RUNS_STILL = "The run before had not ended."
WAITS = "It waits until the run before has ended."
ONE_WAITS = "A run of this schedule waits already."
GONE = "It launches with the rights of {}, and these no longer let it launch jobs in this project."
NO_TICK = "No day to come fits its expression."


def fire_all() -> int:
    """Launch what is due, and what waited and can go; return how many schedules were looked at. Raises SweepFailed."""
    with all_tenants("schedules fall due in every tenant"):
        waiting = ScheduleRun.objects.filter(outcome=TickOutcome.WAITING).order_by("id")
        due = Schedule.objects.filter(paused=False, next_at__lte=DatabaseNow()).order_by("next_at")
        found = dict.fromkeys(waiting.values_list("tenant_id", "schedule_id"))
        found |= dict.fromkeys(due.values_list("tenant_id", "id"))
    with sweep("schedules") as each:
        for tenant_id, schedule_id in each.over(found):
            with each(tenant=tenant_id, schedule=schedule_id):
                for run_id in fire(actor=Actor.system(tenant_id, "schedules"), schedule_id=schedule_id):
                    advancing.advance(tenant_id, run_id)
    return len(found)


@operation(FIRED)
def fire(*, actor: Actor, schedule_id: UUID) -> list[UUID]:
    """Decide the ticks of one schedule until now; return the runs of pipelines that are to be advanced.

    Nothing for a schedule that another round works at, or that is not due any more.
    """
    rows = Schedule.objects.select_for_update(no_key=True, skip_locked=True)
    row = rows.filter(id=schedule_id, paused=False).first()
    firing = _Firing(row) if row else None
    if row is None or firing is None or not firing.go():
        unchanged("nothing is due")
        return []
    row.save(update_fields=["next_at", "refusals"])
    changes = {"outcome": [None, ", ".join(str(run.outcome) for run in firing.decided)]}
    if firing.missed:
        changes["missed"] = [None, str(firing.missed)]
    record(FIRED, actor=actor, target=row, changes=changes, reason=firing.reason)
    if firing.stop:
        schedules.pause(actor=actor, schedule_id=row.id, reason=firing.stop)
    return [run.pipeline_run_id for run in firing.decided if run.pipeline_run_id is not None]


class _Firing:
    """One schedule, locked, with what was decided about its ticks. `stop`: why it pauses itself."""

    def __init__(self, row: Schedule) -> None:
        self.row = row
        self.decided: list[ScheduleRun] = []
        self.missed = 0
        self.stop = ""
        self.reason = ""

    def go(self) -> bool:
        """Decide the waiting tick, and those until now; return whether anything was decided."""
        moment = now()
        waiting = self._ticks(outcome=TickOutcome.WAITING).first()
        if waiting is not None and (self.row.overlap == Overlap.ALLOW or not self._busy()):
            self._launch(waiting)
        if self.row.next_at is not None and self.row.next_at <= moment:
            self._due(self.row.next_at, moment)
        return bool(self.decided or self.missed)

    def _due(self, first: datetime, moment: datetime) -> None:
        row = self.row
        ticks = times.between(row.cron, row.zone, first, moment, MOST_LISTED)
        *older, newest = ticks.newest
        late = moment - newest > GRACE
        launches = not late or row.missed == Missed.LATEST
        self.missed = ticks.count - 1 if launches else ticks.count
        if self.missed:
            self._miss(older if launches else [*older, newest], launches=launches)
        if launches and not self._ticks(due_at=newest).exists():  # it has been, if the clock was set back
            self._tick(ScheduleRun(schedule=row, due_at=newest, reason=LATE if late else ""))
        upcoming = times.upcoming(row.cron, row.zone, moment)
        if upcoming:
            row.next_at = upcoming[0]
        else:
            self.stop = self.stop or NO_TICK

    def _miss(self, ticks: list[datetime], *, launches: bool) -> None:
        made = [ScheduleRun(schedule=self.row, due_at=at, outcome=TickOutcome.MISSED, reason=AWAY) for at in ticks]
        if unlisted := self.missed - len(ticks):
            made[0].reason += EARLIER.format(unlisted)
        ScheduleRun.objects.bulk_create(made, ignore_conflicts=True)
        publish(ScheduleMissed(tenant_id=self.row.tenant_id, schedule_id=self.row.id, count=self.missed))
        notices.missed(self.row, self.missed, launched=launches)

    def _tick(self, run: ScheduleRun) -> None:
        """Decide a tick by the policy for runs that overlap."""
        if self._ticks(outcome=TickOutcome.WAITING).exists():
            self._note(run, TickOutcome.SKIPPED, ONE_WAITS)
        elif self.row.overlap == Overlap.ALLOW or not self._busy():
            self._launch(run)
        elif self.row.overlap == Overlap.QUEUE:
            self._note(run, TickOutcome.WAITING, WAITS)
        else:
            self._note(run, TickOutcome.SKIPPED, RUNS_STILL)

    def _launch(self, run: ScheduleRun) -> None:
        """Launch a tick with the rights that its schedule's person or key has today; a full queue lets it wait."""
        who = replace(actor_today(self.row.tenant_id, self.row.runs_as), label=self.row.runs_as_label)
        if who.standing in CHANGE_NOTHING:
            self.stop = who.standing_words
        elif who.standing == "active" and not who.can("jobs.launch", self.row):
            self.stop = GONE.format(who.label)
        if self.stop:
            return self._note(run, TickOutcome.REFUSED, self.stop)
        try:
            with transaction.atomic():
                launching.launch(run, self.row, actor=who, trigger="schedule")
        except RateLimited as full:
            if run.outcome != TickOutcome.WAITING:
                self._note(run, TickOutcome.WAITING, full.message)
        except ExchequerError as refused:
            self._refuse(run, refused.message)
        else:
            self.row.refusals = 0
            self._note(run, TickOutcome.LAUNCHED, run.reason if run.reason == LATE else "")

    def _refuse(self, run: ScheduleRun, reason: str) -> None:
        self.row.refusals += 1
        self._note(run, TickOutcome.REFUSED, reason)
        publish(ScheduleRefused(tenant_id=self.row.tenant_id, schedule_id=self.row.id))
        if self.row.refusals >= MOST_REFUSALS:
            self.stop = f"Its last {self.row.refusals} launches were refused. The newest: {reason}"
        else:
            notices.refused(self.row, reason)

    def _note(self, run: ScheduleRun, outcome: TickOutcome, reason: str) -> None:
        run.outcome, run.reason, run.noted_at = outcome, reason, now()
        run.save()
        self.decided.append(run)
        self.reason = reason

    def _busy(self) -> bool:
        """Return whether a run that this schedule launched has not ended."""
        open_job = Q(job__isnull=False) & ~Q(job__state__in=FINAL_STATES)
        open_run = Q(pipeline_run__state=RunState.RUNNING)
        newest = self._ticks(outcome=TickOutcome.LAUNCHED).order_by("-due_at")[:MOST_OPEN]
        return self._ticks(id__in=newest.values("id")).filter(open_job | open_run).exists()

    def _ticks(self, **which: object) -> TenantQuerySet[ScheduleRun]:
        return ScheduleRun.objects.get_queryset().filter(schedule=self.row, **which)
