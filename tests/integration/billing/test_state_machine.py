"""A state machine of holds, usage, releases, adjustments and budgets against real PostgreSQL, checked after every step.

The model beside it is plain arithmetic that shares no code with billing. Everything read after a step, including every
rule of `billing.ledger.reconcile`, is one prepared statement: planned once per test, sent once per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
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

from billing import queries
from billing.budgets import budgets, holds
from billing.budgets.budgets import BudgetKind
from billing.budgets.holds import BudgetExceeded
from billing.ledger.reconcile import LEDGER_RULES, USAGE_RULES, reconcile_faults
from billing.metering.metering import Interval, billed_attempts, record_usage, waive_usage
from billing.models import Budget
from billing.money import Money
from tenants.access.actor import Actor
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Project, Tenant
from tenants.rows import prepared_cursor
from tests.support import selling
from tests.support.factories import actor_for, make_project, make_tenant
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

UNIT = Decimal("0.00005")
CENTS = st.integers(1, 400).map(lambda units: Decimal(units).scaleb(-4))
#: Seconds of use of the attempts of one batch.
SECONDS = st.lists(st.integers(1, 90), min_size=1, max_size=3)
LIMITS = st.integers(0, 1500).map(lambda units: Decimal(units).scaleb(-4))

# Checks of a step: the first fault of every rule, every counter and every hold of the tenant.
READ = """
SELECT 'counter', budget_id::text, held, spent, unheld, ceiling FROM billing_budgetperiod WHERE tenant_id = %(tenant)s
UNION ALL SELECT 'hold', id::text, amount, settled, (state = 'open')::int, NULL FROM billing_hold WHERE tenant_id = %(tenant)s
""" + "".join(
    f"UNION ALL SELECT 'fault', '{rule}: ' || f.detail, NULL, NULL, NULL, NULL FROM ({query}) f(detail)\n"
    for rule, query in dict([*LEDGER_RULES, *USAGE_RULES]).items()
)
# The deferred checks of the database run after every step, not only at the commit that never comes.
CHECK = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"


#: Who asks: the person whose budgets pay, and whether the work has the tag.
By = tuple[UUID | None, bool]
#: A project or none, and what else a budget is for.
Scope = tuple[UUID | None, BudgetKind]


def dims_of(by: By) -> dict[str, str]:
    return {**DIMS, "tag:team": "a"} if by[1] else DIMS


@dataclass
class Promise:
    """The model's state of a hold."""

    id: UUID
    project: UUID
    amount: Decimal
    by: By
    settled: Decimal = Decimal(0)
    open: bool = True


@dataclass
class Limit:
    """The model's state of a budget. `early`: the attempts whose usage its opening counted as spent."""

    id: UUID
    scope: Scope
    amount: Decimal
    held: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    unheld: Decimal = Decimal(0)
    open: bool = True
    shares: set[UUID] = field(default_factory=set)
    early: set[UUID] = field(default_factory=set)
    counted: set[UUID] = field(default_factory=set)

    def concerns(self, project: UUID, by: By) -> bool:
        of, kind = self.scope
        person, tagged = by
        if kind.tag:
            return tagged
        return kind.person == person if kind.person else of in {None, project}

    @property
    def room(self) -> Decimal:
        return max(self.amount - self.held - self.spent - self.unheld, Decimal(0))


@dataclass
class Scene:
    """The tenant that every run starts from; a run rolls its changes back."""

    tenant: Tenant
    actor: Actor
    projects: list[Project]
    start: datetime
    limits: dict[Scope, UUID] = field(default_factory=dict)

    @property
    def scopes(self) -> list[Scope]:
        """Those of which the machine has budgets: of each kind one, and of each length."""
        person, tag = self.actor.id, ("team", "a")
        kinds = [
            BudgetKind(),
            BudgetKind(length="quarter"),
            BudgetKind(tag=tag),
            BudgetKind(person=person, length="year"),
        ]
        return [(self.projects[0].id, BudgetKind()), *((None, kind) for kind in kinds)]


def check() -> list[tuple[Any, ...]]:
    """Run the database's deferred checks; return the rows of `READ`."""
    with connection.cursor() as cursor:
        cursor.execute(CHECK)
    with prepared_cursor() as cursor:
        cursor.execute(READ, {"tenant": current_tenant_id()})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def machine_for(scene: Scene) -> type[RuleBasedStateMachine]:
    scopes = st.sampled_from(scene.scopes)
    askers = st.sampled_from([(None, False), (scene.actor.id, False), (None, True), (scene.actor.id, True)])

    class Billing(RuleBasedStateMachine):
        holds = Bundle("holds")
        used = Bundle("used")

        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            self.stack.enter_context(transaction.atomic())
            self.stack.enter_context(tenant_scope(scene.tenant.id))
            self.budgets = [Limit(made, scope, Decimal("0.1")) for scope, made in scene.limits.items()]
            self.promises: list[Promise] = []
            self.charged: dict[UUID, tuple[Promise | None, UUID, Decimal]] = {}
            self.by: dict[UUID, By] = {}
            self.at = scene.start

        def over(self, project: UUID, by: By) -> list[Limit]:
            return [budget for budget in self.budgets if budget.open and budget.concerns(project, by)]

        def under(self, promise: Promise) -> list[Limit]:
            return [budget for budget in self.budgets if promise.id in budget.shares]

        def fits(self, amount: Decimal, project: UUID, by: By) -> bool:
            return all(budget.room >= amount for budget in self.over(project, by))

        @rule(target=holds, amount=CENTS, project=st.sampled_from(scene.projects), by=askers)
        def place(self, amount: Decimal, project: Project, by: By) -> Any:
            fits = self.fits(amount, project.id, by)
            person, tagged = by
            try:
                hold_id = holds.hold(
                    project_id=project.id,
                    subject=f"job:{uuid4()}",
                    amount=Money(amount, "EUR"),
                    tags={"team": "a"} if tagged else {},
                    person=person,
                )
            except BudgetExceeded:
                assert not fits
                return multiple()
            assert fits
            for budget in self.over(project.id, by):
                budget.held += amount
                budget.shares.add(hold_id)
            promise = Promise(hold_id, project.id, amount, by)
            self.promises.append(promise)
            return promise

        @rule(promise=holds, amount=CENTS)
        def extend(self, promise: Promise, amount: Decimal) -> None:
            if not promise.open:
                return
            fits = self.fits(amount, promise.project, promise.by)
            try:
                holds.extend(hold_id=promise.id, amount=Money(amount, "EUR"))
            except BudgetExceeded:
                assert not fits
                return
            assert fits
            promise.amount += amount
            for budget in self.under(promise):
                budget.held += amount

        @rule(target=used, promise=holds, seconds=SECONDS)
        def use(self, promise: Promise, seconds: Sequence[int]) -> Any:
            batch = self.batch(promise.project, promise.by, seconds)
            left = (promise.amount - promise.settled) if promise.open else Decimal(0)
            recorded = record_usage(batch, hold_id=promise.id)
            costs = []
            for lasted in seconds:
                costs.append(min(lasted * UNIT, left // (UNIT / 10**6) * (UNIT / 10**6)))
                left -= costs[-1]
            assert recorded.amount == sum(costs)
            assert recorded.exhausted == (sum(costs) < sum(seconds) * UNIT or left <= 0)
            promise.settled += sum(costs)
            for budget in self.under(promise):
                budget.held -= sum(costs)
                budget.spent += sum(costs)
                budget.counted |= {usage.attempt_id for usage in batch}
            self.charged |= {
                usage.attempt_id: (promise, promise.project, cost) for usage, cost in zip(batch, costs, strict=True)
            }
            return multiple(*batch)

        def batch(self, project: UUID, by: By, seconds: Sequence[int]) -> list[Any]:
            """Return usage of one attempt after the other."""
            batch: list[Any] = []
            for lasted in seconds:
                attempt = uuid4()
                batch.append(interval(project, self.at, lasted, attempt_id=attempt, dims=dims_of(by)))
                self.by[attempt] = by
                self.at += timedelta(seconds=lasted)
            return batch

        @rule(target=used, project=st.sampled_from(scene.projects), seconds=SECONDS, tagged=st.booleans())
        def use_without_a_hold(self, project: Project, seconds: Sequence[int], *, tagged: bool) -> Any:
            by: By = (None, tagged)
            batch = self.batch(project.id, by, seconds)
            assert record_usage(batch).amount == sum(seconds) * UNIT
            for budget in self.over(project.id, by):
                budget.unheld += sum(seconds) * UNIT
                budget.counted |= {usage.attempt_id for usage in batch}
            self.charged |= {
                usage.attempt_id: (None, project.id, lasted * UNIT)
                for usage, lasted in zip(batch, seconds, strict=True)
            }
            return multiple(*batch)

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
            for budget in self.under(promise):
                budget.held -= left

        @rule(usage=consumes(used))
        def waive(self, usage: Interval) -> None:
            assert usage.attempt_id
            promise, project, cost = self.charged[usage.attempt_id]
            assert waive_usage(usage.attempt_id, reason="the node was lost") == cost
            self.charged[usage.attempt_id] = (promise, project, Decimal(0))
            for budget in self.budgets:
                if promise is None and usage.attempt_id in budget.counted:
                    budget.unheld -= cost
                elif usage.attempt_id in budget.counted | budget.early:
                    budget.spent -= cost
                    budget.held += cost if promise and promise.open else 0
            if promise is not None:
                promise.settled -= cost

        @rule(scope=scopes, limit=LIMITS)
        def limit_spending(self, scope: Scope, limit: Decimal) -> None:
            """Change the budget of the scope, or create one while work runs."""
            budget = next((one for one in self.budgets if one.open and one.scope == scope), None)
            if budget is not None:
                budgets.change_budget(actor=scene.actor, budget_id=budget.id, amount=limit)
                budget.amount = limit
                return
            project_id, kind = scope
            made = budgets.create_budget(
                actor=scene.actor, project_id=project_id, kind=kind, amount=limit, at_limit="block_new"
            )
            budget = Limit(made.id, scope, limit)
            for attempt, (_, project, cost) in self.charged.items():
                if budget.concerns(project, self.by[attempt]):
                    budget.spent += cost
                    budget.early.add(attempt)
            for promise in self.promises:
                if promise.open and budget.concerns(promise.project, promise.by):
                    budget.held += promise.amount - promise.settled
                    budget.shares.add(promise.id)
            self.budgets.append(budget)

        @rule(scope=scopes)
        def close_budget(self, scope: Scope) -> None:
            for budget in self.budgets:
                if budget.open and budget.scope == scope:
                    budgets.close_budget(actor=scene.actor, budget_id=budget.id)
                    budget.open = False

        @invariant()
        def judge(self) -> None:
            """Assert that the ledger balances, everything else follows from it, and it matches the model (B1, B10)."""
            rows = check()
            assert [name for kind, name, *_ in rows if kind == "fault"] == []
            counters = {UUID(name): said for kind, name, *said in rows if kind == "counter"}
            for budget in self.budgets:
                held, spent, unheld, ceiling = counters.pop(budget.id)
                assert (held, spent, unheld) == (budget.held, budget.spent, budget.unheld)
                assert (ceiling is not None) == budget.open
                assert ceiling is None or held + spent <= ceiling
            assert counters == {}
            assert {UUID(name): said[:3] for kind, name, *said in rows if kind == "hold"} == {
                promise.id: [promise.amount, promise.settled, promise.open] for promise in self.promises
            }

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
        selling.provision_defaults()
        for project_id, kind in made.scopes:
            budget: Budget = budgets.create_budget(
                actor=made.actor, project_id=project_id, kind=kind, amount=Decimal("0.1"), at_limit="block_new"
            )
            made.limits[project_id, kind] = budget.id
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
@pytest.mark.parametrize("part", ["first", "second", "third", "fourth"])
def test_b1_b10_money_is_conserved_in_two_thousand_runs(scene: Scene, part: str) -> None:
    """In four parts, shared by workers: each runs in one transaction, and its rolled-back rows slow it down."""
    assert_conserved(scene, 500)


UNBALANCED = """
INSERT INTO billing_ledgerposting (id, tenant_id, transaction_id, account, pot, pot_kind, currency, amount)
SELECT gen_random_uuid(), tenant_id, transaction_id, account, pot, pot_kind, currency, 0.0001 FROM billing_ledgerposting LIMIT 1
"""
MOVED = """
WITH entry AS (
  INSERT INTO billing_ledgertransaction (id, tenant_id, kind, period, reason)
  SELECT gen_random_uuid(), tenant_id, 'settle', period, '' FROM billing_ledgertransaction LIMIT 1 RETURNING id, tenant_id
)
INSERT INTO billing_ledgerposting (id, tenant_id, transaction_id, account, pot, pot_kind, currency, amount)
SELECT gen_random_uuid(), e.tenant_id, e.id, leg.account, h.id, 'hold', h.currency, leg.amount
FROM entry e, billing_hold h, (VALUES ('held', -0.0001), ('spent', 0.0001)) AS leg(account, amount)
"""


COUNTERS, HOLDS = "budget counters equal the ledger", "holds equal the ledger"
SHARED = "the held amount of a budget equals what its open holds have left"
CHARGED, ROLLUPS = "the ledger equals rated usage", "intervals sum to roll-ups"
SHARES = "the shares of attempts sum to what a transaction charges"
UNSHARED = """
INSERT INTO billing_ledgershare (tenant_id, attempt_id, transaction_id, amount)
SELECT tenant_id, gen_random_uuid(), transaction_id, 0.0001 FROM billing_ledgershare LIMIT 1
"""


@pytest.mark.parametrize(
    ("planted", "broken"),
    [
        ("UPDATE billing_budgetperiod SET spent = spent + 0.0001", {COUNTERS}),
        ("UPDATE billing_budgetperiod SET held = held - 0.0001", {COUNTERS, SHARED}),
        ("UPDATE billing_hold SET settled = settled + 0.0001", {HOLDS, SHARED}),
        ("UPDATE billing_hold SET state = 'released'", {HOLDS, SHARED}),
        (MOVED, {HOLDS, CHARGED}),
        (UNSHARED, {SHARES}),
        ("UPDATE billing_usagerollup SET amount = amount + 0.0001", {CHARGED, ROLLUPS}),
        ("UPDATE billing_usagerollup SET billable = billable - 1", {ROLLUPS}),
        (
            "UPDATE billing_usagerollup SET period = period + interval '1 month'",
            {ROLLUPS, "every month with usage has an invoice"},
        ),
        (
            "INSERT INTO billing_usagekey (tenant_id, key_hash, payload_hash, event_at) "
            "SELECT tenant_id, payload_hash, payload_hash, event_at FROM billing_usagekey",
            {"every usage key has its interval"},
        ),
    ],
)
def test_b1_b10_the_check_after_a_step_finds_planted_faults(scene: Scene, planted: str, broken: set[str]) -> None:
    machine: Any = machine_for(scene)()
    with machine.stack:
        machine.use(machine.place(Decimal("0.01"), scene.projects[0], (scene.actor.id, True)), [20, 40])
        machine.judge()
        with connection.cursor() as cursor:
            cursor.execute(planted)
        assert {name.partition(": ")[0] for kind, name, *_ in check() if kind == "fault"} == broken
        with pytest.raises(AssertionError):
            machine.judge()
        transaction.set_rollback(True)


def test_b1_a_transaction_that_balanced_takes_no_leg_more(scene: Scene) -> None:
    machine: Any = machine_for(scene)()
    with machine.stack:
        machine.place(Decimal("0.01"), scene.projects[0], (None, False))
        with connection.cursor() as cursor, pytest.raises(IntegrityError, match="does not balance"):
            cursor.execute(UNBALANCED)
        transaction.set_rollback(True)


def test_b1_b10_the_check_after_a_step_finds_differences_from_the_model(scene: Scene) -> None:
    machine: Any = machine_for(scene)()
    with machine.stack:
        promise = machine.place(Decimal("0.01"), scene.projects[0], (scene.actor.id, True))
        machine.judge()
        for account in ("held", "spent", "unheld"):
            budget = machine.budgets[-1]
            before = getattr(budget, account)
            setattr(budget, account, before + UNIT)
            with pytest.raises(AssertionError):
                machine.judge()
            setattr(budget, account, before)
        promise.open = False
        with pytest.raises(AssertionError):
            machine.judge()
        promise.open = True
        machine.judge()
        holds.hold(project_id=scene.projects[1].id, subject="job:unknown", amount=Money(UNIT, "EUR"))
        with pytest.raises(AssertionError):
            machine.judge()
        transaction.set_rollback(True)
