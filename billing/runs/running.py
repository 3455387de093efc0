"""Runs of a month over all tenants: an operator orders one, the ops worker does it chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from billing.models import PeriodRun
from billing.rating.calendar import local_day
from billing.runs.opening import open_owed
from billing.runs.preparing import prepare
from tenants import clock
from tenants.audit import AuditAction
from tenants.errors import Invalid
from tenants.isolation.locks import alone
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

ORDERED = AuditAction("billing.period_run.ordered")
#: Tenants of one transaction.
CHUNK = 500
log = structlog.get_logger(__name__)


def order(*, operator: Operator, period: date) -> PeriodRun:
    """Order a run of a month that has begun; return it, or the one that goes on. Raises Invalid."""
    operator.require("invoices.manage")
    # The first zone to enter a month.
    if period > local_day(clock.now(), "Pacific/Kiritimati"):
        raise Invalid(fields={"period": ["This month has not begun. Give one that has."]})
    made = PeriodRun(period=period, ordered_by=operator.label[:254])
    with transaction.atomic():
        PeriodRun.objects.bulk_create([made], ignore_conflicts=True)
        row = PeriodRun.objects.filter(period=period).order_by(F("finished_at").desc(nulls_first=True)).first()
        if row is None:
            raise RuntimeError("The run is neither new nor going on.")
        if row.id == made.id:
            record_act(operator, ORDERED, target=("period", f"{period:%Y-%m}", f"{period:%Y-%m}"))
    return row


def carry_out() -> int:
    """Do the runs that are ordered; return for how many tenants (control role).

    A chunk of tenants is one transaction, which also moves the run on: one that was stopped continues after its last
    chunk. A failure of one tenant is counted and stops no other. Of two workers one does it.
    """
    done = 0
    with alone("billing.period_runs") as mine:
        while mine and (run := PeriodRun.objects.filter(finished_at=None).order_by("id").first()):
            done += _carry_out(run)
    return done


def _carry_out(run: PeriodRun) -> int:
    this = PeriodRun.objects.filter(id=run.id)
    if run.started_at is None:
        this.update(started_at=clock.DatabaseNow(), tenants=Tenant.objects.count())
    done, last = 0, run.last_tenant
    while True:
        rows = Tenant.objects.order_by("id")
        chunk = list((rows.filter(id__gt=last) if last else rows).values_list("id", flat=True)[:CHUNK])
        if not chunk:
            this.update(finished_at=clock.DatabaseNow(), tenants=F("done"))
            return done
        open_owed(chunk, run.period)
        _prepare(run, chunk)
        done, last = done + len(chunk), chunk[-1]


def _prepare(run: PeriodRun, tenants: Sequence[UUID]) -> None:
    """Prepare these tenants and move the run on behind them; if they fail together, do it in halves."""
    this = PeriodRun.objects.filter(id=run.id)
    try:
        with transaction.atomic():
            failed = len(prepare(run.period, tenants))
            this.update(last_tenant=tenants[-1], done=F("done") + len(tenants), failed=F("failed") + failed)
    except Exception:
        log.exception("period_run.chunk_failed", tenants=len(tenants), period=run.period.isoformat())
        if len(tenants) == 1:
            this.update(last_tenant=tenants[0], done=F("done") + 1, failed=F("failed") + 1)
            return
        half = len(tenants) // 2
        for part in (tenants[:half], tenants[half:]):
            _prepare(run, part)
