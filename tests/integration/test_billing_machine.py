"""A state machine of holds, usage, releases, waivers and budgets against real PostgreSQL, checked after every step.

The model beside it is plain arithmetic that shares no code with billing.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from billing import budgets, holds, pricing, queries
from billing.holds import BudgetExceeded
from billing.metering import Interval, billed_attempts, record_usage, waive_usage
from billing.models import Budget, BudgetPeriod, Hold
from billing.money import Money
from billing.reconcile import ledger_faults, reconcile_faults
from tenants.actor import Actor
from tenants.models import Project, Tenant
from tenants.scoping import tenant_scope
from tests.billing_usage import interval
from tests.factories import actor_for, make_project, make_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

UNIT = Decimal("0.00005")
CENTS = st.integers(1, 400).map(lambda units: Decimal(units).scaleb(-4))
SECONDS = st.integers(1, 90)
LIMITS = st.integers(0, 1500).map(lambda units: Decimal(units).scaleb(-4))


@dataclass
class Promise:
    """What the model knows of a hold."""

    id: UUID
    project: UUID
    amount: Decimal
    settled: Decimal = Decimal(0)
    open: bool = True


@dataclass
class Scene:
    """The tenant that every run starts from; a run rolls its changes back."""

    tenant: Tenant
    actor: Actor
    projects: list[Project]
    start: datetime
    limits: dict[UUID | None, UUID] = field(default_factory=dict)


def machine_for(scene: Scene) -> type[RuleBasedStateMachine]:
    class Billing(RuleBasedStateMachine):
        holds = Bundle("holds")
        used = Bundle("used")

        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            self.stack.enter_context(transaction.atomic())
            self.stack.enter_context(tenant_scope(scene.tenant.id))
            self.limit = dict.fromkeys([None, scene.projects[0].id], Decimal("0.1"))
            self.held = dict.fromkeys(self.limit, Decimal(0))
            self.spent = dict.fromkeys(self.limit, Decimal(0))
            self.unheld = dict.fromkeys(self.limit, Decimal(0))
            self.promises: list[Promise] = []
            self.charged: dict[UUID, tuple[Promise | None, UUID, Decimal]] = {}
            self.at = scene.start

        def scopes(self, project: UUID) -> list[UUID | None]:
            return [scope for scope in self.limit if scope in {None, project}]

        def room(self, project: UUID) -> Decimal:
            taken = (self.limit[s] - self.held[s] - self.spent[s] - self.unheld[s] for s in self.scopes(project))
            return min(max(left, Decimal(0)) for left in taken)

        @rule(target=holds, amount=CENTS, project=st.sampled_from(scene.projects))
        def place(self, amount: Decimal, project: Project) -> Any:
            fits = self.room(project.id) >= amount
            try:
                hold_id = holds.hold(project_id=project.id, subject=f"job:{uuid4()}", amount=Money(amount, "EUR"))
            except BudgetExceeded:
                assert not fits
                return multiple()
            assert fits
            for scope in self.scopes(project.id):
                self.held[scope] += amount
            promise = Promise(hold_id, project.id, amount)
            self.promises.append(promise)
            return promise

        @rule(promise=holds, amount=CENTS)
        def extend(self, promise: Promise, amount: Decimal) -> None:
            if not promise.open:
                return
            fits = self.room(promise.project) >= amount
            try:
                holds.extend(hold_id=promise.id, amount=Money(amount, "EUR"))
            except BudgetExceeded:
                assert not fits
                return
            assert fits
            promise.amount += amount
            for scope in self.scopes(promise.project):
                self.held[scope] += amount

        @rule(target=used, promise=holds, seconds=SECONDS)
        def use(self, promise: Promise, seconds: int) -> Interval:
            attempt = uuid4()
            usage = interval(promise.project, self.at, seconds, attempt_id=attempt)
            left = (promise.amount - promise.settled) if promise.open else Decimal(0)
            cost = min(seconds * UNIT, left // (UNIT / 10**6) * (UNIT / 10**6))
            recorded = record_usage([usage], hold_id=promise.id)
            assert recorded.amount == cost
            assert recorded.exhausted == (cost < seconds * UNIT or left - cost <= 0)
            promise.settled += cost
            for scope in self.scopes(promise.project):
                self.held[scope] -= cost
                self.spent[scope] += cost
            self.charged[attempt] = (promise, promise.project, cost)
            self.at += timedelta(seconds=seconds)
            return usage

        @rule(target=used, project=st.sampled_from(scene.projects), seconds=SECONDS)
        def use_without_a_hold(self, project: Project, seconds: int) -> Interval:
            attempt = uuid4()
            usage = interval(project.id, self.at, seconds, attempt_id=attempt)
            assert record_usage([usage]).amount == seconds * UNIT
            for scope in self.scopes(project.id):
                self.unheld[scope] += seconds * UNIT
            self.charged[attempt] = (None, project.id, seconds * UNIT)
            self.at += timedelta(seconds=seconds)
            return usage

        @rule(usage=used, times=st.integers(1, 3))
        def replay(self, usage: Interval, times: int) -> None:
            promise = self.charged[usage.attempt_id][0] if usage.attempt_id else None
            again = record_usage([usage] * times, hold_id=promise.id if promise else None)
            assert (again.accepted, again.amount) == (0, 0)

        @rule(promise=holds)
        def release(self, promise: Promise) -> None:
            left = promise.amount - promise.settled if promise.open else Decimal(0)
            assert holds.release(hold_id=promise.id).amount == left
            promise.open = False
            for scope in self.scopes(promise.project):
                self.held[scope] -= left

        @rule(usage=consumes(used))
        def waive(self, usage: Interval) -> None:
            assert usage.attempt_id
            promise, project, cost = self.charged[usage.attempt_id]
            assert waive_usage(attempt_id=usage.attempt_id, reason="the node was lost") == cost
            self.charged[usage.attempt_id] = (promise, project, Decimal(0))
            for scope in self.scopes(project):
                if promise is None:
                    self.unheld[scope] -= cost
                else:
                    self.spent[scope] -= cost
                    self.held[scope] += cost if promise.open else 0
            if promise is not None:
                promise.settled -= cost

        @rule(scope=st.sampled_from([None, scene.projects[0].id]), limit=LIMITS)
        def change_budget(self, scope: UUID | None, limit: Decimal) -> None:
            budgets.change_budget(actor=scene.actor, budget_id=scene.limits[scope], amount=limit)
            self.limit[scope] = limit

        @invariant()
        def b1_the_ledger_balances_and_everything_follows_from_it(self) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            assert [str(fault) for fault in ledger_faults()] == []

        @invariant()
        def b10_counters_are_what_the_model_says_and_never_pass_what_was_promised(self) -> None:
            rows = {row.budget_id: row for row in BudgetPeriod.objects.all()}
            for scope, budget_id in scene.limits.items():
                row = rows[budget_id]
                said = (row.held, row.spent, row.unheld)
                assert said == (self.held[scope], self.spent[scope], self.unheld[scope])
                assert row.ceiling is not None
                assert row.held + row.spent <= row.ceiling
            for promise in self.promises:
                stored = Hold.objects.get(pk=promise.id)
                assert (stored.amount, stored.settled) == (promise.amount, promise.settled)

        def teardown(self) -> None:
            try:
                assert [str(fault) for fault in reconcile_faults()] == []
                attempts = billed_attempts(self.charged)
                assert {key: item.amount for key, item in attempts.items()} == {
                    key: cost for key, (_, _, cost) in self.charged.items()
                }
                invoice = queries.draft_invoice()
                assert invoice.exact.amount == sum((cost for _, _, cost in self.charged.values()), Decimal(0))
                if invoice.id:
                    lines = queries.invoice_lines(invoice.id)
                    assert invoice.total == sum((line.amount for line in lines), Money.zero("EUR"))
            finally:
                transaction.set_rollback(True)
                self.stack.close()

    return Billing


@pytest.fixture
def scene(db: None, demo_clock: DemoClock) -> Scene:
    start = datetime(2026, 6, 10, 8, tzinfo=UTC)
    demo_clock.move_to(start - timedelta(minutes=1))
    tenant = make_tenant()
    made = Scene(tenant, actor_for(tenant), [make_project(tenant), make_project(tenant)], start)
    with tenant_scope(tenant.id):
        pricing.provision_defaults()
        for project in (made.projects[0], None):
            project_id = project.id if project else None
            budget: Budget = budgets.create_budget(
                actor=made.actor, project_id=project_id, amount=Decimal("0.1"), at_limit="block_new"
            )
            made.limits[project_id] = budget.id
    demo_clock.move_to(start + timedelta(hours=3))
    return made


def assert_conserved(scene: Scene, runs: int) -> None:
    """Run the machine; it raises with the shortest failing sequence of steps."""
    run_state_machine_as_test(
        machine_for(scene),
        settings=settings(
            max_examples=runs,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_b1_b10_money_is_conserved_whatever_the_order(scene: Scene) -> None:
    assert_conserved(scene, 8)


@pytest.mark.nightly
def test_b1_b10_money_is_conserved_in_two_thousand_runs(scene: Scene) -> None:
    assert_conserved(scene, 2000)
