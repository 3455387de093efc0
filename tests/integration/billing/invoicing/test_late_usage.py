"""Late usage: before its month closes it joins that month's draft; afterwards it is a correction in the next open one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from billing import queries
from billing.budgets import budgets, holds
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import BillingPeriod, BudgetPeriod, UsageEvent, UsageRollup
from billing.models.periods import CLOSED
from billing.money import Money
from billing.reported import ingest, voids
from tenants import clock
from tenants.isolation.scoping import tenant_scope
from tests.support import selling
from tests.support.factories import in_tenant, make_project
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tenants.access.actor import Actor
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
MARCH, APRIL, MAY = date(2027, 3, 1), date(2027, 4, 1), date(2027, 5, 1)
IN_MARCH = datetime(2027, 3, 20, 12, tzinfo=UTC)
IN_APRIL = datetime(2027, 4, 10, 12, tzinfo=UTC)
PRICE = Decimal("0.00005")


@contextmanager
def used_in_march(demo_clock: DemoClock) -> Iterator[tuple[Actor, UUID]]:
    """Open a tenant with an hour of usage in March, in April; yield an actor and its project."""
    tenant = priced_tenant(demo_clock, IN_MARCH, for_=timedelta(days=40))
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        record_usage([interval(project.id, IN_MARCH - timedelta(hours=1), 3600)])
        demo_clock.move_to(IN_APRIL)
        yield actor, project.id


def close(period: date) -> None:
    with selling.role("exchequer_operator"):
        assert BillingPeriod.objects.filter(period=period).update(state=CLOSED, closed_at=clock.now()) == 1


def sums(period: date) -> dict[date | None, tuple[Decimal, Decimal]]:
    """Return quantity and amount of a month's lines, by the month that they correct."""
    (invoice,) = queries.invoices(period=period)
    assert invoice.id is not None
    lines = [line for line in queries.invoice_lines(invoice.id) if line.kind in ("usage", "correction")]
    return {line.origin: (line.quantity, line.exact.amount) for line in lines}


def sound() -> None:
    assert list(reconcile_faults()) == []
    assert list(ledger_faults()) == []


def test_b6_late_usage_of_an_open_month_joins_its_draft(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        record_usage([interval(project, IN_MARCH, 400)])
        assert sums(MARCH) == {None: (Decimal(4000), 4000 * PRICE)}
        assert [view.period for view in queries.invoices()] == [MARCH]
        sound()


def test_b6_late_usage_of_a_closed_month_is_a_correction_in_the_next_open_one(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        close(MARCH)
        before = sums(MARCH)
        record_usage([interval(project, IN_MARCH, 400), interval(project, IN_APRIL - timedelta(hours=1), 60)])
        assert sums(MARCH) == before == {None: (Decimal(3600), 3600 * PRICE)}
        assert sums(APRIL) == {None: (Decimal(60), 60 * PRICE), MARCH: (Decimal(400), 400 * PRICE)}
        assert {(row.day, row.period) for row in UsageEvent.objects.filter(period=APRIL)} == {
            (IN_MARCH.date(), APRIL),
            (IN_APRIL.date(), APRIL),
        }
        (line,) = [one for one in queries.invoice_lines(queries.draft_invoice().id or uuid4()) if one.origin]
        explained = queries.explain(queries.draft_invoice().id or uuid4(), line.n)
        assert sum(one.exact.amount for one in explained.intervals) == line.exact.amount
        assert {one.starts_at.date() for one in explained.intervals} == {IN_MARCH.date()}
        sound()


def test_closing_a_month_closes_those_before_it_also_without_usage(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        close(MARCH)
        record_usage([interval(project, datetime(2027, 2, 20, tzinfo=UTC), 100)])
        assert sums(APRIL) == {date(2027, 2, 1): (Decimal(100), 100 * PRICE)}
        assert not BillingPeriod.objects.filter(period=date(2027, 2, 1)).exists()
        sound()


def test_a_correction_of_two_closed_months_waits_for_the_first_open_one(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        record_usage([interval(project, IN_APRIL - timedelta(hours=1), 60)])
        demo_clock.move_to(datetime(2027, 5, 3, tzinfo=UTC))
        close(MARCH)
        close(APRIL)
        record_usage([interval(project, IN_MARCH, 400)])
        assert sums(MAY) == {MARCH: (Decimal(400), 400 * PRICE)}
        sound()


def test_a_waiver_after_closing_takes_the_charge_back_in_the_open_month(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        attempt = uuid4()
        record_usage([interval(project, IN_MARCH, 400, job_id=uuid4(), attempt_id=attempt)])
        close(MARCH)
        before = sums(MARCH)
        assert waive_usage(attempt, reason="the node failed") == 400 * PRICE
        assert waive_usage(attempt, reason="the node failed") == 0
        assert sums(MARCH) == before
        assert sums(APRIL) == {MARCH: (Decimal(-400), -400 * PRICE)}
        # Late usage of the waived attempt is waived beside what was.
        record_usage([interval(project, IN_MARCH + timedelta(seconds=400), 100, job_id=uuid4(), attempt_id=attempt)])
        assert waive_usage(attempt, reason="the node failed") == 100 * PRICE
        assert sums(APRIL) == {MARCH: (Decimal(-400), -400 * PRICE)}
        sound()


def test_a_void_after_closing_reverses_the_report_in_the_open_month(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (actor, _):
        event = {
            "specversion": "1.0", "id": "late", "source": "gateway", "type": "device.seconds", "subject": "partner:1",
            "time": IN_MARCH.isoformat(), "data": {"quantity": "50", "device_class": "cpu"},
        }  # fmt: skip
    ingest.ingest(actor=actor, events=[event])
    with tenant_scope(actor.tenant_id):
        close(MARCH)
        before = sums(MARCH)
        amount = voids.void_events(actor=actor, events=[("gateway", "late")], reason="a wrong meter")
        assert amount > 0
        assert sums(MARCH) == before
        assert sums(APRIL) == {MARCH: (Decimal(-50), -amount)}
        sound()


def test_a_budget_counts_late_usage_in_the_month_in_which_it_ran(demo_clock: DemoClock) -> None:
    demo_clock.move_to(IN_MARCH)
    with used_in_march(demo_clock) as (actor, project):
        budgets.create_budget(actor=actor, amount=Decimal(10), at_limit="notify")
        record_usage([interval(project, IN_APRIL - timedelta(minutes=1), 60)])
        close(MARCH)
        record_usage([interval(project, IN_MARCH, 400)])
        assert {row.period: row.unheld for row in BudgetPeriod.objects.all()} == {
            APRIL: 60 * PRICE,
            MARCH: 400 * PRICE,
        }
        sound()


def test_a_hold_pays_for_late_usage_of_a_closed_month(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (actor, project):
        close(MARCH)
        held = holds.hold(project_id=project, subject="slice:1", amount=Money(Decimal(1), "EUR"), actor=actor)
        recorded = record_usage([interval(project, IN_MARCH, 400)], hold_id=held)
        assert (recorded.amount, recorded.excluded) == (400 * PRICE, 0)
        assert sums(APRIL) == {MARCH: (Decimal(400), 400 * PRICE)}
        sound()


@pytest.mark.parametrize("table", ["event", "rollup", "sum"])
def test_a_closed_month_refuses_usage_by_raw_sql(demo_clock: DemoClock, table: str) -> None:
    statements = {
        "event": "INSERT INTO billing_usageevent (tenant_id, series_hash, started_at, key_hash, part, ended_at, kind, period, day, "
        "meter_id, project_id, price_id, measured, billable, amount) SELECT tenant_id, series_hash, started_at, '\\x00', part, ended_at, "
        "kind, period, day, meter_id, project_id, price_id, measured, billable, amount FROM billing_usageevent",
        "rollup": "INSERT INTO billing_usagerollup (id, tenant_id, period, day, hour, price_id, meter_id, project_id, series_hash, events, "
        "measured, billable, amount) SELECT gen_random_uuid(), tenant_id, period, day, hour + interval '1 hour', price_id, meter_id, "
        "project_id, series_hash, events, measured, billable, amount FROM billing_usagerollup",
        "sum": "UPDATE billing_usagerollup SET events = events + 1",
    }
    with used_in_march(demo_clock):
        close(MARCH)
        with pytest.raises(IntegrityError, match="is closed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statements[table])


def test_a_period_closes_once_after_its_end_and_never_opens(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        record_usage([interval(project, IN_APRIL - timedelta(hours=1), 60)])
        with pytest.raises(IntegrityError, match="after it has ended"), transaction.atomic():
            close(APRIL)
        close(MARCH)
        for changed in ({"state": "open", "closed_at": None}, {"closed_by": "somebody"}):
            with (
                pytest.raises(IntegrityError, match="stays closed"),
                transaction.atomic(),
                selling.role("exchequer_operator"),
            ):
                BillingPeriod.objects.filter(period=MARCH).update(**changed)


def test_a_segment_keeps_its_list_amount_beside_the_contracted_one(demo_clock: DemoClock) -> None:
    with used_in_march(demo_clock) as (_, project):
        listed = selling.NewPrice("device_seconds", {}, Decimal("0.0008"), list_amount=Decimal("0.001"))
        selling.publish(prices=[listed])
        demo_clock.move_to(IN_APRIL + timedelta(minutes=10))
        record_usage([interval(project, IN_APRIL + timedelta(minutes=8), 60)])
        held = holds.hold(project_id=project, subject="job:1", amount=Money(Decimal("0.008"), "EUR"))
        record_usage([interval(project, IN_APRIL + timedelta(minutes=7), 60)], hold_id=held)
        rows = UsageRollup.objects.filter(period=APRIL)
        assert sum(row.amount for row in rows) == 70 * Decimal("0.0008")
        assert sum(row.amount + row.discount for row in rows) == 70 * Decimal("0.001")
        (line,) = queries.invoice_lines(queries.draft_invoice().id or uuid4())
        assert line.list_exact == Money(70 * Decimal("0.001"), "EUR")
        sound()
