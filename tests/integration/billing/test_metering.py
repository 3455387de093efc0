"""Usage through its real entry point: keys, prices, holds, roll-ups, adjustments."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.db import connection

from billing import retention
from billing.budgets import budgets, counters, holds
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import (
    UsageConflict,
    UsageRefused,
    accept,
    billed,
    billed_attempts,
    record_usage,
    waive_usage,
)
from billing.models import BudgetPeriod, Hold, UsageKey, UsageRollup
from billing.money import Money
from billing.rating import quantity
from billing.usage import rollups
from tenants import clock
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.support import selling
from tests.support.factories import actor_for, in_tenant, make_project, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("with_hold", [True, False])
def test_usage_takes_the_budgets_before_the_hours_and_the_invoice(
    monkeypatch: pytest.MonkeyPatch, *, with_hold: bool
) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    order: list[str] = []
    for name in ("lock_scope", "lock_for_holds"):
        lock = getattr(counters, name)
        monkeypatch.setattr(counters, name, lambda *args, lock=lock: order.append("budgets") or lock(*args))
    write = rollups.write
    monkeypatch.setattr(rollups, "write", lambda *args, **named: order.append("hours") or write(*args, **named))
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, amount=Decimal(1), at_limit="block_new")
        held = holds.hold(project_id=project.id, subject="job:1", amount=Money(Decimal(1), "EUR"))
        order.clear()
        record_usage([interval(project.id, clock.now(), 10)], hold_id=held if with_hold else None)
    assert order == ["budgets", "hours"]


def test_two_halves_cost_what_a_whole_costs_and_the_books_agree() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        start = clock.now()
        odd = {"end": start + timedelta(seconds=7, microseconds=333_333)}
        amounts = []
        for share in (500, 500, 1000):
            held = holds.hold(project_id=project.id, subject=f"job:{uuid4()}", amount=Money(Decimal("0.01"), "EUR"))
            dims = {"device_class": "cpu", "tier": "on_demand", **quantity.share_dims(share)}
            usage = interval(project.id, start, 7, dims=dims, share=share, job_id=uuid4(), attempt_id=uuid4(), **odd)
            amounts.append(record_usage([usage], hold_id=held))
        # The same key with another share is another content.
        other = interval(project.id, start, 7, key=usage.key, dims=dims, job_id=usage.job_id, **odd)
        assert record_usage([replace(other, share=250, dims={**dims, **quantity.share_dims(250)})]).conflicts == (
            usage.key,
        )
        assert [*reconcile_faults(), *ledger_faults()] == []
    first, second, whole = amounts
    assert first.quantity + second.quantity == whole.quantity == Decimal("7.333333")
    assert first.quantity == Decimal("3.6666665") and first.amount + second.amount == whole.amount > 0


def test_a_second_is_settled_from_the_hold_once() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        start = clock.now() - timedelta(seconds=0)
        job, attempt = uuid4(), uuid4()
        held = holds.hold(project_id=project.id, subject=f"job:{job}", amount=Money(Decimal("0.001"), "EUR"))
        usage = interval(project.id, start, 10, job_id=job, attempt_id=attempt)
        first = record_usage([usage], hold_id=held)
        again = record_usage([usage], hold_id=held)
        assert (first.accepted, first.amount, first.exhausted) == (1, Decimal("0.0005"), False)
        assert (again.accepted, again.amount) == (0, Decimal(0))
        rest = record_usage(
            [interval(project.id, start + timedelta(seconds=10), 15, job_id=job, attempt_id=attempt)], hold_id=held
        )
        assert (rest.quantity, rest.excluded, rest.exhausted, rest.refused_by) == (
            Decimal(10),
            Decimal(5),
            True,
            "hold",
        )
        assert billed([job])[job].seconds == 20
        assert billed_attempts([attempt])[attempt].measured == 25
        assert waive_usage(attempt, reason="node lost") == Decimal("0.001")
        assert waive_usage(attempt, reason="node lost") == 0
        assert (billed([job])[job].seconds, billed([job])[job].measured) == (0, 25)
        assert Hold.objects.get().settled == 0
        assert holds.release(hold_id=held).amount == Decimal("0.001")
        assert holds.release(hold_id=held).amount == 0


def test_what_a_removed_hold_paid_can_still_be_waived(as_control: Callable[[], AbstractContextManager[None]]) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    attempt = uuid4()
    with in_tenant(tenant):
        selling.provision_defaults()
        budgets.create_budget(actor=actor_for(tenant), amount=Decimal(1), at_limit="block_new")
        held = holds.hold(project_id=project.id, subject="job:1", amount=Money(Decimal("0.01"), "EUR"))
        used = interval(project.id, clock.now() - timedelta(seconds=20), 20, job_id=uuid4(), attempt_id=attempt)
        charged = record_usage([used], hold_id=held).amount
        holds.release(hold_id=held)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE billing_hold SET released_at = exchequer_now() - interval '401 days'")
    with as_control():
        assert retention.purge_expired()["holds"] == 1
    with in_tenant(tenant):
        assert waive_usage(attempt, reason="node lost") == charged > 0
        assert waive_usage(attempt, reason="node lost") == 0
        assert BudgetPeriod.objects.get().spent == 0
        assert not [*ledger_faults(), *reconcile_faults()]


def test_an_unsound_interval_is_refused_before_any_effect() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        now = clock.now()
        good = interval(project.id, now, 5)
        for bad in (
            interval(project.id, now, 0),
            interval(project.id, now, -5),
            interval(project.id, now - timedelta(days=2), 86_401),
            interval(project.id, now, 400),
            interval(project.id, now.replace(tzinfo=None), 5),
            interval(project.id, now, 5, meter="bananas"),
        ):
            with pytest.raises(UsageRefused) as refused:
                record_usage([good, bad])
            assert list(refused.value.fields) == [bad.key]
        assert not UsageKey.objects.exists()
        assert record_usage([]).accepted == 0
        accepted = interval(project.id, now, 7)
        with pytest.raises(UsageRefused):
            accept(tenant_id=tenant.id, intervals=[accepted, interval(project.id, now, -1)])
        assert record_usage([accepted]).accepted == 0


def test_b2_the_same_key_with_other_content_is_a_recorded_conflict() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        selling.provision_defaults()
        now = clock.now()
        record_usage([interval(project.id, now, 5, "k")])
        twin, other = interval(project.id, now, 9, "k"), interval(project.id, now, 5, "fresh")
        with pytest.raises(UsageConflict) as conflict:
            accept(tenant_id=tenant.id, intervals=[twin, other, interval(project.id, now, 6, "fresh")])
        assert (conflict.value.status, conflict.value.extra["conflicts"]) == (409, ["k", "fresh"])
    with in_tenant(tenant):
        assert AuditEntry.objects.filter(action="billing.usage.conflicted").count() == 2
        assert sum(row.measured for row in UsageRollup.objects.all()) == 10
        elsewhere = interval(project.id, now, 5, "k", source="another")
        assert record_usage([elsewhere]).accepted == 1


@pytest.mark.django_db(transaction=True)
def test_b2_replays_in_any_order_by_eight_threads_change_no_total(demo_clock: DemoClock) -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    start = clock.now()
    demo_clock.advance(timedelta(hours=2))
    with in_tenant(tenant):
        selling.provision_defaults()
    demo_clock.advance(timedelta(hours=2))
    random = Random(7)
    usage = [
        interval(project.id, start + timedelta(seconds=20 * n), random.randint(1, 3000), attempt_id=uuid4())
        for n in range(120)
    ]
    deliveries = [item for item in usage for _ in range(random.randint(1, 5))]

    def deliver(number: int) -> int:
        mine = deliveries[number::8]
        Random(number).shuffle(mine)
        accepted = 0
        try:
            while mine:
                batch = [mine.pop() for _ in range(min(len(mine), 7))]
                with tenant_scope(tenant.id):
                    accepted += record_usage(batch).accepted
        finally:
            connection.close()
        return accepted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(deliver, range(8))) == len(usage)
    with tenant_scope(tenant.id):
        measured = sum((row.measured for row in UsageRollup.objects.all()), Decimal(0))
        assert measured == sum(int((item.end - item.start).total_seconds()) for item in usage)
        assert list(reconcile_faults()) == []
        demo_clock.advance(timedelta(days=40))
        assert record_usage(usage[:10]).accepted == 0
        assert list(ledger_faults()) == []
