"""The turn of a month under running work: its hold rolls over, as far as the new month's budgets have headroom."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from billing.budgets import budgets, counters, holds
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import BudgetPeriod, Hold
from billing.money import Money
from tests.support import selling
from tests.support.factories import default_project_id, in_tenant, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
JANUARY = datetime(2027, 1, 31, 23, 59, 50, tzinfo=UTC)
FEBRUARY = datetime(2027, 2, 1, tzinfo=UTC)
#: Price per second of the tests' device.
SECOND = Decimal("0.00005")


def euro(amount: Decimal) -> Money:
    return Money(amount, "EUR")


@contextmanager
def budgeted(demo_clock: DemoClock, start: datetime, amount: Decimal) -> Iterator[UUID]:
    """Open the scope of a tenant with a budget from `start`; yield its project."""
    demo_clock.move_to(start)
    tenant = make_tenant()
    project = default_project_id(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, amount=amount, at_limit="block_new")
        yield project


def test_usage_over_a_months_turn_locks_the_budgets_of_all_its_months_in_one_statement(
    demo_clock: DemoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[list[date]] = []
    lock = counters.lock_for_holds

    def seen(*asked: Any, **more: Any) -> list[counters.Counter]:
        rows = lock(*asked, **more)
        locked.append(sorted(row.period for row in rows))
        return rows

    with budgeted(demo_clock, datetime(2026, 12, 31, 23, 59, tzinfo=UTC), Decimal(1)) as project:
        held = holds.hold(project_id=project, subject="job:1", amount=euro(SECOND * 100))
        demo_clock.move_to(FEBRUARY + timedelta(seconds=10))
        monkeypatch.setattr(counters, "lock_for_holds", seen)
        late = [interval(project, at, 10) for at in (datetime(2027, 1, 1, tzinfo=UTC) - timedelta(seconds=5), JANUARY)]
        recorded = record_usage([*late, interval(project, FEBRUARY, 10)], hold_id=held)
        assert (recorded.amount, recorded.exhausted) == (SECOND * 30, False)
        assert locked == [[date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1)]]
        found = {row.period.month: (row.held, row.spent) for row in BudgetPeriod.objects.all()}
        assert found == {12: (0, SECOND * 5), 1: (0, SECOND * 15), 2: (SECOND * 70, SECOND * 10)}
        assert [*ledger_faults(), *reconcile_faults()] == []


def test_a_hold_that_a_new_month_has_no_room_for_is_refused_by_the_budget(demo_clock: DemoClock) -> None:
    with budgeted(demo_clock, JANUARY - timedelta(minutes=1), SECOND * 100) as project:
        held = holds.hold(project_id=project, subject="job:1", amount=euro(SECOND * 100))
        demo_clock.move_to(FEBRUARY + timedelta(seconds=10))
        holds.hold(project_id=project, subject="job:2", amount=euro(SECOND * 96))
        recorded = record_usage([interval(project, JANUARY, 20)], hold_id=held)
        assert (recorded.amount, recorded.excluded) == (SECOND * 14, 6)
        assert (recorded.exhausted, recorded.refused_by) == (True, "budget")
        assert list(ledger_faults()) == []


def test_a_hold_grows_in_the_running_month_and_not_in_the_one_it_was_placed_in(demo_clock: DemoClock) -> None:
    with budgeted(demo_clock, JANUARY - timedelta(minutes=1), SECOND * 100) as project:
        held = holds.hold(project_id=project, subject="job:1", amount=euro(SECOND * 30))
        holds.hold(project_id=project, subject="job:2", amount=euro(SECOND * 70))
        with pytest.raises(holds.BudgetExceeded):
            holds.extend(hold_id=held, amount=euro(SECOND))
        demo_clock.move_to(FEBRUARY)
        holds.extend(hold_id=held, amount=euro(SECOND * 70))
        with pytest.raises(holds.BudgetExceeded):
            holds.extend(hold_id=held, amount=euro(SECOND))
        assert Hold.objects.get(pk=held).period == FEBRUARY.date()
        assert {row.period.month: row.held for row in BudgetPeriod.objects.all()} == {1: SECOND * 70, 2: SECOND * 100}
        assert list(ledger_faults()) == []


def moved_on(demo_clock: DemoClock, project: UUID, amount: Decimal) -> UUID:
    """Place a hold in January and extend it in February; return it ten seconds after the turn."""
    held = holds.hold(project_id=project, subject="job:1", amount=euro(amount))
    demo_clock.move_to(FEBRUARY + timedelta(seconds=10))
    holds.extend(hold_id=held, amount=euro(SECOND))
    assert Hold.objects.get(pk=held).period == FEBRUARY.date()
    return held


def of_months() -> dict[int, tuple[Decimal, Decimal]]:
    return {row.period.month: (row.held, row.spent) for row in BudgetPeriod.objects.order_by("period")}


def test_usage_of_a_past_month_is_spent_by_its_own_budgets(
    demo_clock: DemoClock,
) -> None:
    with budgeted(demo_clock, JANUARY - timedelta(minutes=1), Decimal(1)) as project:
        held = moved_on(demo_clock, project, SECOND * 100)
        attempt = uuid4()
        used = interval(project, JANUARY, 20, attempt_id=attempt)
        recorded = record_usage([used], hold_id=held)
        assert (recorded.amount, recorded.exhausted) == (SECOND * 20, False)
        assert of_months() == {1: (0, SECOND * 10), 2: (SECOND * 81, SECOND * 10)}
        assert [*ledger_faults(), *reconcile_faults()] == []
        assert waive_usage(attempt, reason="ours") == SECOND * 20
        assert {month: spent for month, (_, spent) in of_months().items()} == {1: 0, 2: 0}
        assert [*ledger_faults(), *reconcile_faults()] == []


def test_a_spent_budget_of_a_past_month_stops_nothing_in_the_current_one(demo_clock: DemoClock) -> None:
    with budgeted(demo_clock, JANUARY - timedelta(minutes=1), SECOND * 104) as project:
        spent = holds.hold(project_id=project, subject="job:2", amount=euro(SECOND * 4))
        record_usage([interval(project, JANUARY - timedelta(seconds=30), 4)], hold_id=spent)
        held = moved_on(demo_clock, project, SECOND * 100)
        record_usage([interval(project, JANUARY - timedelta(seconds=ago), ago) for ago in (50, 45)])
        recorded = record_usage([interval(project, JANUARY, 20)], hold_id=held)
        assert (recorded.amount, recorded.excluded, recorded.exhausted) == (SECOND * 15, 5, False)
        assert of_months() == {1: (0, SECOND * 9), 2: (SECOND * 86, SECOND * 10)}
        assert [*ledger_faults(), *reconcile_faults()] == []
