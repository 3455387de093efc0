"""Runs of a month over all tenants: an operator orders one, the ops worker does it tenant after tenant."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from billing.models import PeriodRun
from billing.rating.calendar import local_day
from billing.runs.preparing import prepare
from tenants import clock
from tenants.audit import AuditAction
from tenants.errors import Invalid
from tenants.isolation.locks import alone
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

ORDERED = AuditAction("billing.period_run.ordered")
BATCH = 100
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

    Each tenant is one transaction, which also moves the run on: one that was stopped continues after its last tenant. A
    failure of one tenant is counted and stops no other. Of two workers one does it.
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
        following = list((rows.filter(id__gt=last) if last else rows).values_list("id", flat=True)[:BATCH])
        if not following:
            this.update(finished_at=clock.DatabaseNow(), tenants=F("done"))
            return done
        for last in following:
            _one(run, last)
            done += 1


def _one(run: PeriodRun, tenant_id: UUID) -> None:
    this = PeriodRun.objects.filter(id=run.id)
    try:
        with tenant_scope(tenant_id):
            prepare(run.period)
            this.update(last_tenant=tenant_id, done=F("done") + 1)
    except Exception:
        # What was prepared before stays, with its time.
        log.exception("period_run.failed", tenant=str(tenant_id), period=run.period.isoformat())
        this.update(last_tenant=tenant_id, done=F("done") + 1, failed=F("failed") + 1)
