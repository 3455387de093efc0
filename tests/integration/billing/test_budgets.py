"""Budgets: held and spent money never exceed the limit, under any race."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from billing import queries
from billing.budgets import budgets, holds
from billing.budgets.holds import BudgetExceeded, HoldExists
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import BudgetPeriod, Hold, LedgerShare, LedgerTransaction
from billing.money import CurrencyMismatch, Money
from tenants import clock
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage
from tests.support import selling
from tests.support.factories import actor_for, in_tenant, make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

T = TypeVar("T")


def euro(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def at_once(workers: int, call: Callable[[int], T]) -> list[T]:
    """Run a call in that many threads, started together, each with its own connection."""
    barrier = Barrier(workers)

    def run(number: int) -> T:
        try:
            barrier.wait(20)
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def counters() -> dict[UUID | None, tuple[Decimal, Decimal]]:
    return {row.budget.project_id: (row.held, row.spent) for row in BudgetPeriod.objects.select_related("budget")}


@pytest.mark.django_db(transaction=True)
def test_b10_sixteen_launches_race_for_a_budget_that_fits_three() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(10), at_limit="block_new")
        budgets.create_budget(actor=actor, amount=Decimal(11), at_limit="block_new")

    def launch(number: int) -> bool:
        try:
            with tenant_scope(tenant.id):
                holds.hold(project_id=project.id, subject=f"job:{number}", amount=euro("3"))
        except BudgetExceeded:
            return False
        return True

    let_in = at_once(16, launch)
    assert sum(let_in) == 3
    with tenant_scope(tenant.id):
        assert counters() == {None: (9, 0), project.id: (9, 0)}
        assert list(ledger_faults()) == []


@pytest.mark.django_db(transaction=True)
def test_b10_launches_usage_and_releases_race_on_three_projects_and_nothing_is_overspent() -> None:
    tenant = make_tenant()
    projects = [make_project(tenant) for _ in range(3)]
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        for project in projects:
            budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal("0.02"), at_limit="block_new")
        budgets.create_budget(actor=actor, amount=Decimal("0.05"), at_limit="block_new")
    start = datetime.now(UTC)

    def work(number: int) -> int:
        launched = 0
        for turn in range(6):
            project = projects[(number + turn) % 3]
            try:
                with tenant_scope(tenant.id):
                    held = holds.hold(project_id=project.id, subject=f"job:{number}:{turn}", amount=euro("0.005"))
            except BudgetExceeded:
                continue
            launched += 1
            with tenant_scope(tenant.id):
                record_usage(
                    [interval(project.id, start, 40, resource=f"device:{number}", attempt_id=uuid4())], hold_id=held
                )
            with tenant_scope(tenant.id):
                holds.release(hold_id=held)
        return launched

    launched, number = sum(at_once(16, work)), 16
    while more := work(number):  # a single thread uses up what the racing ones were refused while others held it
        launched, number = launched + more, number + 1
    with tenant_scope(tenant.id):
        assert all(row.held == 0 and row.spent <= row.limit for row in BudgetPeriod.objects.all())
        assert queries.month_to_date().cost.amount == launched * Decimal("0.002")
        assert launched >= 20
        assert list(ledger_faults()) == []
        assert list(reconcile_faults()) == []


@pytest.mark.django_db
def test_b10_the_database_refuses_to_overspend_by_raw_sql() -> None:
    tenant = make_tenant()
    with in_tenant(tenant) as actor:
        budgets.create_budget(actor=actor, amount=Decimal(5), at_limit="block_new")
        with (
            pytest.raises(IntegrityError, match="budget_never_overspent"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE billing_budgetperiod SET held = 3, spent = 2.000000000001")


@pytest.mark.django_db
def test_a_refused_hold_names_the_budget_and_stores_nothing() -> None:
    tenant = make_tenant()
    project, other = make_project(tenant), make_project(tenant)
    with in_tenant(tenant) as actor:
        budget = budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(2), at_limit="block_new")
        with pytest.raises(BudgetExceeded) as refused:
            holds.hold(project_id=project.id, subject="job:1", amount=euro("2.5"))
        assert refused.value.status == 402
        assert refused.value.extra["left"] == {"amount": "2.000000", "currency": "EUR"}
        assert refused.value.extra["budget"] == str(budget.id)
        assert not Hold.objects.exists()
        holds.hold(project_id=other.id, subject="job:1", amount=euro("2.5"))
        with pytest.raises(HoldExists):
            holds.hold(project_id=other.id, subject="job:1", amount=euro("1"))
        with pytest.raises(CurrencyMismatch):
            holds.hold(project_id=other.id, subject="job:2", amount=Money(Decimal(1), "USD"))
        with pytest.raises(NotFound):
            holds.release(hold_id=uuid4())
        assert list(ledger_faults()) == []


@pytest.mark.django_db
def test_a_budget_that_only_notifies_refuses_nothing_and_notifies_once(demo_clock: DemoClock) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(
            actor=actor, project_id=project.id, amount=Decimal("0.01"), at_limit="notify", alerts=[50, 80]
        )
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("1"))
        for number in range(10):
            record_usage([interval(project.id, clock.now() + timedelta(seconds=20 * number), 20)], hold_id=held)
        told = OutboxMessage.objects.filter(topic="billing.BudgetThresholdReached").values_list(
            "payload__percent", flat=True
        )
        assert sorted(told) == [50, 80]
        (status,) = queries.budgets(project.id)
        assert (status.used_percent, status.crossed, status.state) == (100, (50, 80), "exhausted")


@pytest.mark.django_db
def test_a_lowered_budget_stops_running_work_at_the_new_limit() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budget = budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(1), at_limit="stop_running")
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("1"))
        start = clock.now()
        record_usage([interval(project.id, start, 100)], hold_id=held)
        budgets.change_budget(actor=actor, budget_id=budget.id, amount=Decimal("0.006"))
        refused = record_usage([interval(project.id, start + timedelta(seconds=100), 100)], hold_id=held)
        assert (refused.quantity, refused.excluded, refused.exhausted, refused.refused_by) == (20, 80, True, "budget")
        with pytest.raises(BudgetExceeded):
            holds.extend(hold_id=held, amount=euro("0.1"))
        holds.release(hold_id=held)
        assert queries.budgets(project.id)[0].left.amount == 0
        row = BudgetPeriod.objects.get()
        assert (row.spent, row.held, row.ceiling) == (Decimal("0.006"), 0, Decimal("0.006"))
        assert list(ledger_faults()) == []


@pytest.mark.django_db
def test_a_hold_moves_to_the_next_local_month_as_far_as_its_budget_has_room(demo_clock: DemoClock) -> None:
    midnight = datetime(2026, 4, 1, 4, tzinfo=UTC)
    demo_clock.move_to(midnight - timedelta(hours=1))
    tenant = make_tenant(timezone="America/New_York")
    project, other = make_project(tenant), make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal("0.05"), at_limit="block_new")
        budgets.create_budget(actor=actor, amount=Decimal("0.06"), at_limit="block_new")
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("0.05"))
        demo_clock.move_to(midnight + timedelta(seconds=30))
        holds.hold(project_id=other.id, subject="job:2", amount=euro("0.04"))
        recorded = record_usage([interval(project.id, midnight - timedelta(seconds=20), 40)], hold_id=held)
        assert (recorded.quantity, recorded.exhausted) == (40, False)
        months = {
            (row.budget.project_id, row.period.month): (row.held, row.spent)
            for row in BudgetPeriod.objects.select_related("budget")
        }
        assert months == {
            (project.id, 3): (0, Decimal("0.001")),
            (None, 3): (0, Decimal("0.001")),
            (project.id, 4): (Decimal("0.019"), Decimal("0.001")),
            (None, 4): (Decimal("0.059"), Decimal("0.001")),
        }
        assert holds.release(hold_id=held).amount == Decimal("0.019")
        assert list(ledger_faults()) == []
        assert list(reconcile_faults()) == []


@pytest.mark.django_db
def test_a_new_budget_counts_what_is_spent_and_held_already() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("0.01"))
        start = clock.now()
        record_usage([interval(project.id, start, 100)], hold_id=held)
        record_usage([interval(project.id, start, 20, resource="device:2")])
        budget = budgets.create_budget(
            actor=actor, project_id=project.id, amount=Decimal("0.012"), at_limit="block_new"
        )
        assert counters() == {project.id: (Decimal("0.005"), Decimal("0.006"))}
        with pytest.raises(BudgetExceeded):
            holds.hold(project_id=project.id, subject="job:2", amount=euro("0.002"))
        record_usage([interval(project.id, start + timedelta(seconds=100), 20)], hold_id=held)
        holds.release(hold_id=held)
        assert counters() == {project.id: (0, Decimal("0.007"))}
        with pytest.raises(budgets.BudgetExists):
            budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(1), at_limit="notify")
        budgets.close_budget(actor=actor, budget_id=budget.id)
        holds.hold(project_id=project.id, subject="job:3", amount=euro("100"))
        assert list(ledger_faults()) == []


@pytest.mark.django_db(transaction=True)
def test_a_budget_made_while_a_hold_is_released_holds_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("6"))

    def release() -> None:
        try:
            with tenant_scope(tenant.id):
                holds.release(hold_id=held)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        create = BudgetPeriod.objects.create

        def create_late(**row: object) -> BudgetPeriod:
            wait([pool.submit(release)], timeout=1)
            return create(**row)

        monkeypatch.setattr(BudgetPeriod.objects, "create", create_late)
        with in_tenant(tenant) as actor:
            budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(10), at_limit="block_new")
    with tenant_scope(tenant.id):
        assert Hold.objects.get().state == "released"
        assert list(ledger_faults()) == []
        assert counters() == {project.id: (0, 0)}


@pytest.mark.django_db(transaction=True)
def test_a_budget_that_holds_what_no_open_hold_has_left_is_a_fault(superuser: psycopg.Connection) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(10), at_limit="block_new")
        holds.hold(project_id=project.id, subject="job:1", amount=euro("6"))
        assert list(ledger_faults()) == []
    superuser.execute("DELETE FROM billing_holdshare")
    with tenant_scope(tenant.id):
        assert [fault.rule for fault in ledger_faults()] == [
            "the held amount of a budget equals what its open holds have left"
        ]


@pytest.mark.django_db
def test_usage_without_a_hold_leaves_less_room_but_is_never_refused() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal("0.01"), at_limit="block_new")
        attempt = uuid4()
        assert record_usage([interval(project.id, clock.now(), 290, attempt_id=attempt)]).amount == Decimal("0.0145")
        with pytest.raises(BudgetExceeded):
            holds.hold(project_id=project.id, subject="job:1", amount=euro("0.001"))
        waive_usage(attempt, reason="the node was lost")
        holds.hold(project_id=project.id, subject="job:1", amount=euro("0.01"))
        assert list(ledger_faults()) == []


@pytest.mark.django_db
def test_a_waiver_gives_money_back_to_a_hold_and_after_release_to_the_budget() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal("0.01"), at_limit="block_new")
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("0.01"))
        start, attempts = clock.now(), [uuid4(), uuid4()]
        record_usage([interval(project.id, start, 100, attempt_id=attempts[0])], hold_id=held)
        assert waive_usage(attempts[0], reason="lost") == Decimal("0.005")
        assert counters() == {project.id: (Decimal("0.01"), 0)}
        record_usage([interval(project.id, start, 200, attempt_id=attempts[1])], hold_id=held)
        holds.release(hold_id=held)
        assert counters() == {project.id: (0, Decimal("0.01"))}
        assert waive_usage(attempts[1], reason="lost") == Decimal("0.01")
        assert counters() == {project.id: (0, 0)}
        late = record_usage(
            [interval(project.id, start + timedelta(seconds=200), 5, attempt_id=attempts[1])], hold_id=held
        )
        assert (late.accepted, late.quantity, late.excluded, late.exhausted) == (1, 0, 5, True)
        assert list(ledger_faults()) == []
        assert list(reconcile_faults()) == []


@pytest.mark.django_db
@pytest.mark.parametrize("held", [False, True])
def test_attempts_of_a_batch_share_one_ledger_transaction_and_each_is_waived_alone(*, held: bool) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        for scope in (project.id, None):
            budgets.create_budget(actor=actor, project_id=scope, amount=Decimal(1), at_limit="block_new")
        hold_id = holds.hold(project_id=project.id, subject="job:1", amount=euro("0.1")) if held else None
        start, attempts = clock.now(), [uuid4(), uuid4(), uuid4()]
        posted = LedgerTransaction.objects.count()
        batch = [
            interval(project.id, start + timedelta(seconds=10 * number), 10, attempt_id=attempts[number % 3])
            for number in range(6)
        ]
        slot = interval(project.id, start + timedelta(seconds=60), 10)
        assert record_usage([*batch, slot], hold_id=hold_id).amount == Decimal("0.0035")
        # Before it, an attempt had a transaction of its own, as it has where it comes alone.
        record_usage([interval(project.id, start + timedelta(seconds=70), 20, attempt_id=attempts[0])], hold_id=hold_id)
        kinds = ["settle" if held else "unheld"] * 3
        found = LedgerTransaction.objects.order_by("posted_at", "attempt_id")[posted:]
        assert [row.kind for row in found] == kinds
        assert {row.attempt_id for row in found} == {None, attempts[0]}
        shares = LedgerShare.objects.values_list("attempt_id", "amount")
        assert dict(shares) == dict.fromkeys(attempts, Decimal("0.001"))
        assert waive_usage(attempts[0], reason="the node was lost") == Decimal("0.002")
        assert waive_usage(*attempts[:2], reason="the node was lost") == Decimal("0.001")
        left = Decimal("0.0015")
        columns = ("held", "spent", "unheld")
        wanted = (Decimal("0.1") - left, left, 0) if held else (0, 0, left)
        assert set(BudgetPeriod.objects.values_list(*columns)) == {wanted}
        assert list(ledger_faults()) == list(reconcile_faults()) == []


@pytest.mark.django_db
@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("released", [False, True])
def test_a_waiver_gives_back_what_a_budget_made_after_the_charge_counted_as_spent(
    *, replaces: bool, released: bool
) -> None:
    tenant = make_tenant()
    project, other = make_project(tenant), make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        if replaces:
            first = budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(1), at_limit="block_new")
        held = holds.hold(project_id=project.id, subject="job:1", amount=euro("0.01"))
        start, attempt = clock.now(), uuid4()
        record_usage([interval(project.id, start, 60, attempt_id=attempt)], hold_id=held)
        if replaces:
            budgets.close_budget(actor=actor, budget_id=first.id)
        for scope in (project.id, other.id, None):
            budgets.create_budget(actor=actor, project_id=scope, amount=Decimal(1), at_limit="block_new")
        record_usage([interval(project.id, start + timedelta(seconds=60), 40, attempt_id=attempt)], hold_id=held)
        if released:
            holds.release(hold_id=held)
        with CaptureQueriesContext(connection) as asked:
            assert waive_usage(attempt, reason="disk full") == Decimal("0.005")
        locks = [one["sql"] for one in asked if "FOR NO KEY UPDATE OF c" in one["sql"]]
        assert len(locks) == 1, "one after the other would stand out of order with who spends meanwhile"
        left = Decimal(0) if released else Decimal("0.01")
        rows = set(BudgetPeriod.objects.values_list("budget__project_id", "held", "spent", "unheld"))
        assert rows == {(project.id, left, 0, 0), (None, left, 0, 0), (other.id, 0, 0, 0)}
        holds.release(hold_id=held)
        assert not BudgetPeriod.objects.exclude(held=0, spent=0).exists()
        assert list(ledger_faults()) == list(reconcile_faults()) == []


@pytest.mark.django_db
def test_a_waiver_gives_back_usage_without_a_hold_that_a_later_budget_counted() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        start, attempt = clock.now(), uuid4()
        record_usage([interval(project.id, start, 60, attempt_id=attempt)])
        budgets.create_budget(actor=actor, project_id=project.id, amount=Decimal(1), at_limit="block_new")
        record_usage([interval(project.id, start + timedelta(seconds=60), 40, attempt_id=attempt)])
        waive_usage(attempt, reason="disk full")
        assert list(BudgetPeriod.objects.values_list("held", "spent", "unheld")) == [(0, 0, 0)]
        assert list(ledger_faults()) == []


@pytest.mark.django_db
def test_only_those_who_manage_budgets_change_them_and_only_to_sound_values() -> None:
    tenant = make_tenant()
    with in_tenant(tenant) as actor:
        with pytest.raises(PermissionDenied):
            budgets.create_budget(actor=actor_for(tenant, "engineer"), amount=Decimal(1), at_limit="notify")
        for wrong in (
            {"amount": Decimal("NaN"), "at_limit": "notify"},
            {"amount": Decimal(-1), "at_limit": "notify"},
            {"amount": Decimal(1), "at_limit": "explode"},
            {"amount": Decimal(1), "at_limit": "notify", "alerts": [0]},
        ):
            with pytest.raises(Invalid):
                budgets.create_budget(actor=actor, **wrong)  # type: ignore[arg-type]
        with pytest.raises(NotFound):
            budgets.create_budget(actor=actor, project_id=uuid4(), amount=Decimal(1), at_limit="notify")
        with pytest.raises(NotFound):
            budgets.change_budget(actor=actor, budget_id=uuid4(), amount=Decimal(1))
